package ingest_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// newWriter starts a Writer without a spool and with a long timeout.
func newWriter(t *testing.T, pool *pgxpool.Pool) *ingest.Writer {
	t.Helper()
	w := ingest.NewWriter(ingest.Config{
		Pool: pool, Timeout: pgtest.Timeout, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	t.Cleanup(w.Close)
	return w
}

// hold blocks writes to a table until the returned function is called, at the latest when the test ends.
func hold(t *testing.T, pool *pgxpool.Pool, table string) (release func()) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, tx, "LOCK TABLE "+table)
	release = sync.OnceFunc(func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	return release
}

// waits says whether a statement waits for the lock that hold has on a table.
func waits(t *testing.T, pool *pgxpool.Pool, table string) bool {
	t.Helper()
	return pgtest.Get[int64](t, pool, `SELECT count(*) FROM pg_locks AS l INNER JOIN pg_database AS d ON d.oid = l.database
		WHERE d.datname = current_database() AND l.relation = $1::text::regclass AND NOT l.granted`, table) > 0
}

// A rebuild locks its contacts for long. Late events of these go to the spool, all others to the database.
func TestLateEventOfALockedContact(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := config(t, pool)
	c.Spool = openSpool(t, t.TempDir())
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	write := func(phone string, second int) {
		t.Helper()
		e := contactEvent("i", phone, noon.Add(time.Duration(second)*time.Second))
		if err := w.Write(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() int64 { return pgtest.Get[int64](t, pool, "SELECT count(*) FROM events") }
	pgtest.Exec(t, pool, "UPDATE interval_progress SET cutoff = 'infinity'") // all events are late
	write("p", 0)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "SELECT FROM contact_states FOR UPDATE")
	write("p", 1)
	if n := stored(); n != 1 || w.Unavailable() {
		t.Errorf("%d events are stored; unavailable: %t", n, w.Unavailable())
	}
	pgtest.Exec(t, pool, "UPDATE interval_progress SET watermark = $1, cutoff = $1", noon.Add(-time.Hour))
	write("q", 2)
	if n := stored(); n != 2 {
		t.Errorf("%d events are stored", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the spool is empty", func() bool { return stored() == 3 })
}

// Without a spool, batches are tried and the service says that the database is away, until it is back.
func TestUnavailableWithoutASpool(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := config(t, pool)
	c.Timeout = 300 * time.Millisecond
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	release := hold(t, pool, "events")
	e := event(a, noon, 0)
	if err := w.Write(t.Context(), &e); !errors.Is(err, ingest.ErrUnavailable) || !w.Unavailable() {
		t.Errorf("%v; unavailable: %t", err, w.Unavailable())
	}
	release()
	pgtest.Eventually(t, "the database is available", func() bool { return !w.Unavailable() })
	if err := w.Write(t.Context(), &e); err != nil {
		t.Error(err)
	}
}

// A request that is still there when the service stops gets an error.
func TestClosedWriterIsUnavailable(t *testing.T) {
	t.Parallel()
	w := ingest.NewWriter(config(t, pgtest.New(t)))
	w.Close()
	e := event(a, noon, 0)
	for range 2 {
		if err := w.Write(t.Context(), &e); !errors.Is(err, ingest.ErrUnavailable) {
			t.Error(err)
		}
		if err := w.Reject(t.Context(), payload(noon, "x")); !errors.Is(err, ingest.ErrUnavailable) {
			t.Error(err)
		}
	}
}

func TestFullQueueReturnsErrBusy(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := newWriter(t, pool)
	release := hold(t, pool, "events")
	t.Cleanup(release)
	var wg sync.WaitGroup
	send := func(e presence.Event) {
		wg.Go(func() {
			if err := w.Write(t.Context(), &e); err != nil {
				t.Error(err)
			}
		})
	}
	big := event(b, noon, 0)
	big.Extra = []byte(`{"x":"` + strings.Repeat("x", 1<<18) + `"}`)
	send(event(a, noon, 0))
	pgtest.Eventually(t, "the first batch waits for the lock", func() bool { return waits(t, pool, "events") })
	for range 4 {
		send(big)
	}
	pgtest.Eventually(t, "the next batch is full", func() bool { return w.Queued() == 4 })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := event(c, noon.Add(time.Second), 0)
	if err := w.Write(ctx, &late); !errors.Is(err, ingest.ErrBusy) {
		t.Errorf("a full queue returns %v, want ErrBusy", err)
	}
	release()
	wg.Wait()
	if err := w.Write(t.Context(), &late); err != nil {
		t.Error(err)
	}
	want(t, pool, "[abbbb][c]")
}

func TestConcurrentEventsAreAllStored(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := newWriter(t, pool)
	release := hold(t, pool, "events") // so that all gather in few batches
	const n = 500
	seqs := make(chan int16, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			e := event(a, noon, 0) // of one contact at one moment
			if err := w.Write(t.Context(), &e); err != nil {
				t.Error(err)
			}
			seqs <- e.Seq
		})
	}
	pgtest.Eventually(t, "a batch waits for the lock", func() bool { return waits(t, pool, "events") })
	release()
	wg.Wait()
	close(seqs)
	seen := map[int16]bool{}
	for seq := range seqs {
		if seen[seq] {
			t.Errorf("seq %d was assigned twice", seq)
		}
		seen[seq] = true
	}
	want(t, pool, "["+strings.Repeat("a", n)+"]")
}

func TestWriteFailsForDataThatTheDatabaseRefuses(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := newWriter(t, pool)
	bad := event(a, noon, 0)
	bad.Extra = []byte("no JSON")
	if err := w.Write(t.Context(), &bad); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	good := event(b, noon, 0)
	if err := w.Write(t.Context(), &good); err != nil {
		t.Error(err)
	}
	want(t, pool, "[b]")
}
