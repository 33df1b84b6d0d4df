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

// newWriter starts a Writer without a spool that waits long for the database.
func newWriter(t *testing.T, pool *pgxpool.Pool) *ingest.Writer {
	t.Helper()
	w := ingest.NewWriter(ingest.Config{
		Pool: pool, Bound: time.Minute, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	t.Cleanup(w.Close)
	return w
}

// hold keeps events from being written until the returned function is called.
func hold(t *testing.T, pool *pgxpool.Pool) (release func()) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE events"); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAFullQueueTurnsAwayWhoCannotWait(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := newWriter(t, pool)
	release := hold(t, pool)
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
	big.Extra = []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)
	send(event(a, noon, 0))
	eventually(t, "the first batch is on its way", func() bool {
		var waiting bool
		err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'events'::regclass AND NOT granted)").Scan(&waiting)
		return err == nil && waiting
	})
	for range 4 {
		send(big)
	}
	eventually(t, "the next batch is full", func() bool { return w.Queued() == 4 })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := event(c, noon.Add(time.Second), 0)
	if err := w.Write(ctx, &late); !errors.Is(err, ingest.ErrBusy) {
		t.Errorf("a full queue says %v, want ErrBusy", err)
	}
	release()
	wg.Wait()
	if err := w.Write(t.Context(), &late); err != nil {
		t.Error(err)
	}
	want(t, pool, "[abbbb][c]")
}

func TestEventsThatComeTogetherAreAllStored(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := newWriter(t, pool)
	release := hold(t, pool) // so that all gather in few batches
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
	eventually(t, "a batch gathers", func() bool { return w.Queued() > n/2 })
	release()
	wg.Wait()
	close(seqs)
	seen := map[int16]bool{}
	for seq := range seqs {
		if seen[seq] {
			t.Errorf("the seq %d was given twice", seq)
		}
		seen[seq] = true
	}
	want(t, pool, "["+strings.Repeat("a", n)+"]")
}

func TestWhatTheDatabaseRefusesDoesNotPassForStored(t *testing.T) {
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
