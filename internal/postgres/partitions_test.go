package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

// partitions lists the partitions of events with their bounds.
func partitions(t *testing.T, p *pgxpool.Pool) []string {
	t.Helper()
	return pgtest.Strings(t, p, `
		SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid)
		FROM pg_inherits AS i INNER JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'events'::regclass ORDER BY 1`)
}

// month is the partition of a month, as partitions lists it.
func month(year int, m time.Month) string {
	from := time.Date(year, m, 1, 0, 0, 0, 0, time.UTC)
	const form = "2006-01-02 15:04:05+00"
	return fmt.Sprintf("events_%s FOR VALUES FROM ('%s') TO ('%s')", from.Format("2006_01"), from.Format(form), from.AddDate(0, 1, 0).Format(form))
}

func same(t *testing.T, p *pgxpool.Pool, want ...string) {
	t.Helper()
	if got := partitions(t, p); !slices.Equal(got, want) {
		t.Errorf("partitions\n%q, want\n%q", got, want)
	}
}

func TestMakePartitionsAhead(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	same(t, p)
	// The last day of a long month: a month later is not simply a month's days later.
	for _, now := range []string{"2026-12-31T23:59:59.999999999Z", "2026-12-01T00:00:00Z", "2027-01-01T05:00:00+05:30"} {
		at, err := time.Parse(time.RFC3339Nano, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := postgres.MakePartitionsAhead(t.Context(), p, at.UTC()); err != nil {
			t.Fatal(err)
		}
		same(t, p, month(2026, 12), month(2027, 1), month(2027, 2))
	}
}

func TestMakePartitionsOnDemand(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	moment := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	err := postgres.MakePartitions(t.Context(), p,
		moment("2024-02-29T23:59:59.999999Z"), moment("2024-02-01T00:00:00Z"), moment("2000-01-01T00:00:00Z"),
		moment("2024-02-29T22:00:00-03:00"), // March in UTC
		moment("2100-12-31T23:59:59Z"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{month(2000, 1), month(2024, 2), month(2024, 3), month(2100, 12)}
	same(t, p, want...)
	for range 2 {
		if err := postgres.MakePartitions(t.Context(), p, moment("2024-02-15T00:00:00Z")); err != nil {
			t.Fatal(err)
		}
	}
	if err := postgres.MakePartitions(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	same(t, p, want...)
	// They have what the table has: its key and its other index.
	indexes := pgtest.Get[int](t, p, "SELECT count(*) FROM pg_index WHERE indrelid = 'events_2024_02'::regclass")
	if indexes != 2 {
		t.Errorf("a partition has %d indexes", indexes)
	}
}

func TestMakePartitionsConcurrently(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	first := time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)
	together(t, 8, func(i int) error {
		p := pool(t, url)
		for m := range 6 {
			m = (m + i) % 6 // each in another order
			if err := postgres.MakePartitions(t.Context(), p, first.AddDate(0, m, 0)); err != nil {
				return err
			}
			// While others attach theirs, one can write and read. In the moment in which that of another is committed, a
			// connection may not know it yet, which can take a while on a busy machine: the writer tries again as well.
			at := first.AddDate(0, m, 10+i)
			insert := func() (err error) {
				_, err = p.Exec(t.Context(), "INSERT INTO events (contact_id, received_at, seq, status) VALUES (1, $1, 0, 1)", at)
				return err
			}
			err := insert()
			for until := time.Now().Add(pgtest.Timeout); postgres.ErrorCode(err) == pgerrcode.CheckViolation && time.Now().Before(until); {
				time.Sleep(time.Millisecond)
				err = insert()
			}
			if err != nil {
				return err
			}
			if _, err := p.Exec(t.Context(), "SELECT count(*) FROM events"); err != nil {
				return err
			}
		}
		return nil
	})
	p := pool(t, url)
	same(t, p, month(2025, 11), month(2025, 12), month(2026, 1), month(2026, 2), month(2026, 3), month(2026, 4))
	if n := pgtest.Get[int](t, p, "SELECT count(*) FROM events"); n != 48 {
		t.Errorf("%d events, want 48", n)
	}
}

// A plan that is made while a partition is attached does not know it, and is cached: MakePartitions invalidates it. planning is
// called while the plan is made, after the partitions have been looked at.
func TestNewPartitionsAreKnownToPlansBeingMade(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	pgtest.Exec(t, p, `
		CREATE FUNCTION planning() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN 1; END';
		CREATE FUNCTION counted() RETURNS TABLE (n bigint) STABLE LANGUAGE sql AS 'SELECT count(*) FROM events';
	`, pgx.QueryExecModeSimpleProtocol)
	conn, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	count := func() (n int, err error) {
		err = conn.QueryRow(t.Context(), "SELECT c.n FROM counted() AS c, (SELECT planning() AS one FROM settings OFFSET 0) AS s WHERE s.one = 1").Scan(&n)
		return n, err
	}
	holder, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.WithoutCancel(t.Context()))
	pgtest.Exec(t, holder, "SELECT pg_advisory_xact_lock(1)")
	planned, made := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := count()
		planned <- err
	}()
	pgtest.AwaitBlocked(t, p, planned)
	at := time.Date(2024, 2, 15, 0, 0, 0, 0, time.UTC)
	go func() { made <- postgres.MakePartitions(t.Context(), p, at) }()
	pgtest.Eventually(t, "the partition is there", func() bool {
		_, err := p.Exec(t.Context(), "INSERT INTO events (received_at, contact_id, seq, status) VALUES ($1, 1, 1, 1)", at)
		return err == nil
	})
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-planned, <-made); err != nil {
		t.Fatal(err)
	}
	if n, err := count(); n != 1 || err != nil {
		t.Errorf("%d events of a new partition (%v), want 1", n, err)
	}
}
