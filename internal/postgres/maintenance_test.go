package postgres_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

// An interrupted REINDEX CONCURRENTLY leaves an index that is of no use, and that every insert maintains.
func TestIndexesOfAnInterruptedReindexAreDropped(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	if err := postgres.MakePartitions(t.Context(), p, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	invalid := func() int {
		t.Helper()
		return pgtest.Get[int](t, p, "SELECT count(*) FROM pg_index WHERE NOT indisvalid")
	}
	writer, err := p.Begin(t.Context()) // for which the REINDEX waits
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback(t.Context())
	pgtest.Exec(t, writer, "INSERT INTO events (contact_id, received_at, seq, status) VALUES (1, '2026-09-10Z', 0, 1)")
	conn, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	interrupted := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "REINDEX INDEX CONCURRENTLY events_2026_09_pkey")
		interrupted <- err
	}()
	pgtest.Eventually(t, "the REINDEX has made its index", func() bool { return invalid() == 1 })
	pgtest.Exec(t, p, "SELECT pg_cancel_backend($1)", conn.Conn().PgConn().PID())
	if err := <-interrupted; postgres.ErrorCode(err) != pgerrcode.QueryCanceled {
		t.Fatalf("the REINDEX was not interrupted: %v", err)
	}
	if err := writer.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := invalid(); n != 1 {
		t.Fatalf("%d invalid indexes, want one", n)
	}
	if err := postgres.ReindexPast(t.Context(), p, time.Date(2026, 9, 20, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if n := invalid(); n != 0 {
		t.Errorf("%d invalid indexes are left", n)
	}
}

// REINDEX CONCURRENTLY waits for transactions with an older snapshot, of which the one with the lock must be none.
func TestReindexDeadlock(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	if err := postgres.MakePartitions(t.Context(), p, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	// In no order, so that the key is loose.
	pgtest.Exec(t, p, `
INSERT INTO events (contact_id, received_at, seq, status)
SELECT hashint4(i), '2026-09-10Z'::timestamptz + i * interval '1 s', 0, 1
FROM generate_series(1, 250000) AS i`)
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Timeout)
	defer cancel()
	var writing sync.WaitGroup
	writing.Go(func() { // each transaction makes the snapshots of others older
		for i := 0; ctx.Err() == nil; i++ {
			_, err := p.Exec(ctx, "INSERT INTO events (contact_id, received_at, seq, status) VALUES (1, '2026-09-20Z'::timestamptz + $1 * interval '1 ms', 0, 1)", i)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	// It does not check the size: how much the writer adds depends on the machine.
	file := func() uint32 {
		t.Helper()
		return pgtest.Get[uint32](t, p, "SELECT pg_relation_filenode('events_2026_09_pkey')")
	}
	before := file()
	if err := postgres.ReindexPast(ctx, p, time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Error(err)
	}
	cancel()
	writing.Wait()
	if file() == before {
		t.Error("the key was not rebuilt")
	}
}

// A query for the last seconds reads few rows besides those, however many have come since PostgreSQL last looked.
func TestTimeIndexesAreCompleted(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	now := time.Now()
	if err := postgres.MakePartitionsAhead(t.Context(), p, now); err != nil { // the month may end meanwhile
		t.Fatal(err)
	}
	write := func() {
		t.Helper()
		pgtest.Exec(t, p, `
INSERT INTO events (contact_id, received_at, seq, status)
SELECT n + i, $1::timestamptz + (n + i) * interval '1 us', 0, 1
FROM (SELECT count(*) AS n FROM events) AS e CROSS JOIN generate_series(1, 50000) AS i`, now)
	}
	alsoRead := func() (rows int) { // for the last 100 events
		t.Helper()
		tx, err := p.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		pgtest.Exec(t, tx, "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off")
		plan := pgtest.Strings(t, tx, `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT FROM events WHERE received_at > (SELECT max(received_at) - interval '100 us' FROM events)`)
		for _, line := range plan {
			if _, n, found := strings.Cut(line, "Rows Removed by Index Recheck: "); found {
				rows, err = strconv.Atoi(n)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for range 2 {
		write()
		if rows := alsoRead(); rows < 40000 {
			t.Fatalf("only %d rows are read at first", rows)
		}
		if err := postgres.CompleteTimeIndexes(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if rows := alsoRead(); rows > 15000 { // one range of pages has fewer than 7000
			t.Errorf("%d rows are read", rows)
		}
	}
	// VACUUM has the same lock, and is not waited for.
	tx, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "LOCK TABLE ONLY "+now.UTC().Format("events_2006_01")+" IN SHARE UPDATE EXCLUSIVE MODE")
	if err := postgres.CompleteTimeIndexes(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// A plan for a table that is known to be empty reads all of it, and may be kept while it is filled.
func TestEmptyTablesAreNotAnalyzed(t *testing.T) {
	t.Parallel()
	p := pgtest.New(t)
	if err := postgres.MakePartitions(t.Context(), p, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Reindex(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if known := pgtest.Strings(t, p, "SELECT relname::text FROM pg_class WHERE relname ~ '^(events|intervals|contact)' AND relkind = 'r' AND reltuples = 0"); len(known) > 0 {
		t.Errorf("%s are known to be empty", known)
	}
	if analyzed := pgtest.Strings(t, p, "SELECT relname::text FROM pg_class WHERE relname = 'settings' AND reltuples = 1"); len(analyzed) == 0 {
		t.Error("settings are not analyzed")
	}
}
