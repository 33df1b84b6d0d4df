package retention_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
)

// blocked starts a run that waits at an event of the last contact of short until release is called.
func blocked(t *testing.T, ctx context.Context, url string, at time.Time) (release func(), done chan error) {
	t.Helper()
	pool := connect(t, url)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tag, err := tx.Exec(t.Context(), `SELECT FROM events AS e WHERE received_at = $1 AND contact_id =
		(SELECT max(c.id) FROM contacts AS c INNER JOIN instances AS i ON i.id = c.instance_id WHERE i.name = 'short') FOR UPDATE`,
		at)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatal(tag, err)
	}
	done = make(chan error, 1)
	runner := connect(t, url)
	go func() {
		_, err := retention.Run(ctx, runner, now)
		done <- err
	}()
	pgtest.AwaitBlocked(t, pool, done)
	release = func() { tx.Rollback(context.Background()) }
	t.Cleanup(release) // before its pool is closed
	return release, done
}

func TestInterruptedRunContinuesNextTime(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := connect(t, url)
	twoInstances(t, pool)
	set(t, pool, "keeps", "retention", "forever") // so that nothing is dropped, which would wait as well
	planned := plan(t, pool)
	ctx, cancel := context.WithCancel(t.Context())
	release, done := blocked(t, ctx, url, date(time.September, 10))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	release()
	// The server may still hold the lock for a client that has disconnected.
	pgtest.Eventually(t, "nothing runs and no transaction is open", func() bool {
		return pgtest.Get[int](t, pool, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
			AND state <> 'idle' AND pid <> pg_backend_pid()`) == 0
	})
	rest := plan(t, pool)
	total, _ := planned.Totals()
	left, _ := rest.Totals()
	if left == 0 || left == total {
		t.Errorf("%d of %d are still to go, want some", left, total)
	}
	if gone := run(t, pool); !reflect.DeepEqual(gone, rest) {
		t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(rest))
	}
	if gone := plan(t, pool); !gone.Empty() {
		t.Errorf("still to go is %s", text(gone))
	}
}

func TestConcurrentRuns(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := connect(t, url)
	twoInstances(t, pool)
	set(t, pool, "keeps", "retention", "forever")
	release, done := blocked(t, t.Context(), url, date(time.September, 10))
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx, cancel := context.WithTimeout(t.Context(), pgtest.Timeout) // it would wait for the same event
			defer cancel()
			if gone, err := retention.Run(ctx, connect(t, url), now); !errors.Is(err, postgres.ErrBusy) || !gone.Empty() {
				t.Errorf("%s %v", text(gone), err)
			}
		}()
	}
	wg.Wait()
	// The current run lets VACUUM remove rows deleted during it.
	if held := pgtest.Get[int](t, pool, `SELECT count(a.backend_xmin) FROM pg_stat_activity AS a INNER JOIN pg_locks AS l USING (pid)
		WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = 'locks'::regclass`); held > 0 {
		t.Error("its lock holds a snapshot")
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if gone := run(t, pool); !gone.Empty() {
		t.Errorf("still to go was %s", text(gone))
	}
}

// Receivers write during the run, even if something blocks the drop.
func TestWritersContinueDuringRetention(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := connect(t, url)
	twoInstances(t, pool)
	reader, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback(t.Context())
	pgtest.Exec(t, reader, "SELECT count(*) FROM events")

	stop, ended := make(chan bool), make(chan bool)
	var written atomic.Int64
	var slowest time.Duration
	go func() {
		defer close(ended)
		store := ingest.NewStore(connect(t, url))
		for at := now; ; at = at.Add(time.Millisecond) {
			select {
			case <-stop:
				return
			default:
			}
			started := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), pgtest.Timeout)
			err := store.Write(ctx, []presence.Event{
				{InstanceID: "short", Phone: "new", Status: presence.Composing, ReceivedAt: at},
				{InstanceID: "long", Phone: "2", Status: presence.Composing, ReceivedAt: at},
			})
			cancel()
			if err != nil {
				t.Errorf("writing: %v", err)
				return
			}
			slowest = max(slowest, time.Since(started))
			written.Add(1)
		}
	}()
	var gone retention.Report
	done := make(chan error, 1)
	go func() {
		var err error
		gone, err = retention.Run(t.Context(), pool, now)
		done <- err
	}()
	pgtest.AwaitBlocked(t, pool, done)
	before := written.Load()
	err = <-done
	if n := written.Load() - before; n < 2 { // the first may have waited until the end of the run
		t.Errorf("%d batches were written from the first blocked drop to the end of the run", n)
	}
	if err == nil || !strings.Contains(err.Error(), "events are in use; the next run drops events_2026_07") || len(gone.Partitions) > 0 {
		t.Errorf("gone is %s (%v)", text(gone), err)
	}
	if n := events(t, pool, "short", date(time.September, 1), shortFrom); n != 0 {
		t.Errorf("%d old events are still there", n)
	}
	reader.Rollback(t.Context())
	var dropped []string
	pgtest.Eventually(t, "two months are dropped", func() bool { // a writer that stands still holds it up as well
		gone, err := retention.Run(t.Context(), pool, now)
		if dropped = append(dropped, gone.Partitions...); err != nil && !strings.Contains(err.Error(), "events are in use") {
			t.Fatal(err)
		}
		return err == nil
	})
	if len(dropped) != 2 {
		t.Errorf("gone is %s", text(dropped))
	}
	close(stop)
	<-ended
	if n := events(t, pool, "short", now, now.AddDate(0, 0, 1)); n != written.Load() {
		t.Errorf("%d of %d written are there", n, written.Load())
	}
	t.Logf("%d batches, the slowest took %s", written.Load(), slowest)
}
