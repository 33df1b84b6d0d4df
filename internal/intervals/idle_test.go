package intervals_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// rowsRead is how many rows were read so far, of all tables of the database.
func rowsRead(t *testing.T, pool *pgxpool.Pool) (rows int64) {
	t.Helper()
	pgtest.Exec(t, pool, "SELECT pg_stat_force_next_flush()")
	if err := pool.QueryRow(t.Context(), `
		SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables)
			+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestRefreshReadsOnlyActiveContacts: senders may have made up instances and contacts without end. Those that do nothing cost
// nothing.
func TestRefreshReadsOnlyActiveContacts(t *testing.T) {
	t.Parallel()
	const quiet = 4000 // instances with a contact each
	// One connection for all, whose counts are complete when they are asked for.
	pool, err := postgres.Connect(t.Context(), pgtest.URL(t), "refresh", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := ingest.NewStore(pool)
	events := make([]presence.Event, quiet)
	for i := range events {
		events[i] = presence.Event{
			InstanceID: fmt.Sprint("quiet ", i), Phone: "p", Status: presence.Composing, ReceivedAt: noon.AddDate(0, -1, 0).Add(time.Duration(i) * time.Millisecond),
		}
	}
	for some := range slices.Chunk(events, 1000) {
		write(t, s, some...)
	}
	write(t, s, composing("a", noon.Add(-time.Hour)))
	refresh := func(at time.Time) (rows int64) {
		t.Helper()
		before := rowsRead(t, pool)
		now := func() time.Time { return at }
		if err := intervals.Refresh(t.Context(), pool, now, 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := history.NewReader(pool, now).Background(t.Context()); err != nil {
			t.Fatal(err)
		}
		return rowsRead(t, pool) - before
	}
	if rows := refresh(noon); rows < quiet {
		t.Fatalf("%d rows were read to store the intervals of %d contacts: the count is wrong", rows, quiet)
	}
	if stored := pgtest.Get[int](t, pool, "SELECT count(*) FROM intervals"); stored != 2*(quiet+1) {
		t.Fatalf("%d intervals of %d contacts", stored, quiet+1)
	}
	pgtest.Exec(t, pool, "VACUUM ANALYZE") // as autovacuum does

	const most = 300 // of several thousand
	check := func(what string, rows int64) {
		t.Logf("%s: %d rows", what, rows)
		if rows > most {
			t.Errorf("%s: %d rows were read, want at most %d", what, rows, most)
		}
	}
	check("nothing new", refresh(noon.Add(time.Minute)))
	write(t, s, composing("a", noon.Add(time.Minute)))
	check("an event", refresh(noon.Add(2*time.Minute)))
	check("its visit goes on", refresh(noon.Add(3*time.Minute)))
	write(t, s, composing("a", noon.Add(-time.Minute)))
	check("a late event", refresh(noon.Add(4*time.Minute)))
	check("its visit ends", refresh(noon.Add(time.Hour)))
	check("nothing new again", refresh(noon.Add(2*time.Hour)))
}
