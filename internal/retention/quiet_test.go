package retention_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/retention"
)

// counter counts the statements that connections run.
type counter struct{ atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.Add(1)
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Senders may have made up instances without end. Those with nothing to delete take no statements of their own.
func TestRetentionDoesNothingForQuietInstances(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	var statements counter
	config.ConnConfig.Tracer = &statements
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	const quiet = 500
	pgtest.Exec(t, pool, "INSERT INTO instances (name) SELECT 'quiet ' || i FROM generate_series(1, $1::integer) AS i", quiet)
	pgtest.Exec(t, pool, "INSERT INTO contacts (instance_id, phone) SELECT id, 'p' FROM instances")
	fill(t, pool, "i", 1, date(time.October, 20), now, 12*time.Hour)
	fill(t, pool, "quiet 7", 1, date(time.November, 20), now, 12*time.Hour)
	refresh(t, pool)
	set(t, pool, "", "retention", "5d")
	set(t, pool, "", "interval_retention", "10d")
	horizon := date(time.November, 17)
	kept := events(t, pool, "i", horizon, now) + events(t, pool, "quiet 7", horizon, now)
	for _, want := range []int64{events(t, pool, "i", date(time.January, 1), horizon), 0} {
		before := statements.Load()
		report, err := retention.Run(t.Context(), pool, now)
		if err != nil {
			t.Fatal(err)
		}
		if events, _ := report.Totals(); events != want {
			t.Errorf("%d events were deleted, want %d", events, want)
		}
		if n := statements.Load() - before; n > quiet/5 {
			t.Errorf("%d statements beside %d quiet instances", n, quiet)
		}
	}
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events"); n != kept {
		t.Errorf("%d events are left, want %d", n, kept)
	}
	if n := pgtest.Get[int](t, pool, "SELECT count(*) FROM intervals WHERE started_at < $1", date(time.November, 12)); n != 0 {
		t.Errorf("%d old intervals are left", n)
	}
}
