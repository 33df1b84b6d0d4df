package intervals_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func composing(phone string, at time.Time) presence.Event {
	return presence.Event{InstanceID: "i", Phone: phone, Status: presence.Composing, ReceivedAt: at}
}

func write(t testing.TB, s *ingest.Store, events ...presence.Event) {
	t.Helper()
	if err := s.Write(context.Background(), events); err != nil {
		t.Error(err)
	}
}

func clock() time.Time { return noon.Add(time.Hour) }

// sums is what all contacts did, by hours.
func sums(t testing.TB, pool *pgxpool.Pool) history.Sums {
	t.Helper()
	d, err := history.NewReader(pool, clock).Durations(t.Context(), "i", "", history.Calendar{
		Range: history.Range{From: noon.Add(-time.Hour), To: clock()}, Bucket: history.Hour, Zone: time.UTC,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRefreshAwaitsWriters: a batch whose transaction began before the cutoff was moved took its events for being in time.
// It may commit when what is before the cutoff would long have been read. Also a second refresh, whose cutoff is later,
// must not take the range of the first one without waiting.
func TestRefreshAwaitsWriters(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, composing("a", noon.Add(-time.Minute)), composing("b", noon.Add(-time.Minute))) // whose ids are cached from now on

	// Writes to the table wait, so that the batch hangs within its transaction.
	block, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = block.Rollback(context.Background()) }()
	pgtest.Exec(t, block, `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, $1, 0, 3 FROM contacts AS c WHERE phone = 'b'`, noon)
	var wg sync.WaitGroup
	wg.Go(func() { write(t, s, composing("a", noon), composing("b", noon)) }) // b's key is taken, perhaps
	awaitBlocked(t, pool, 1, nil)
	refreshed := make(chan error, 2)
	refresh := func(name string, at time.Time) {
		of := named(t, pool, name)
		go func() {
			err := intervals.ErrBusy
			for errors.Is(err, intervals.ErrBusy) { // it has waited for long, as on a busy machine; like a service, it tries again
				err = intervals.Refresh(t.Context(), of, func() time.Time { return at }, 0)
			}
			refreshed <- err
		}()
		awaitWaitingForWriters(t, pool, name, refreshed)
	}
	refresh("first", clock())
	refresh("second", clock().Add(time.Minute))
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for range 2 {
		if err := <-refreshed; err != nil {
			t.Fatal(err)
		}
	}
	if d := sums(t, pool).Total.Typing; d.Count != 4 || d.Seconds != 100 {
		t.Errorf("%d spans of %g s together, want 4 of 100 s", d.Count, d.Seconds)
	}
}

// TestRefreshMissesNoLateEvent: an event that is committed while its contact is being refreshed, too late to be read, takes the
// contact back.
func TestRefreshMissesNoLateEvent(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, composing("a", noon))
	pgtest.Exec(t, pool, "UPDATE interval_progress SET cutoff = $1", clock())
	// Another transaction writes the same interval, so that the refresh hangs after it has read the events.
	block, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = block.Rollback(context.Background()) }()
	pgtest.Exec(t, block, `INSERT INTO intervals (started_at, ended_at, confirmed_until, contact_id, instance_id, events, measure, ended_by)
		SELECT $1, $1, $1, id, instance_id, 0, 't', 'e' FROM contacts`, noon)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := intervals.Refresh(context.Background(), pool, clock, 0); err != nil {
			t.Error(err)
		}
	})
	awaitBlocked(t, pool, 1, nil)
	written := make(chan struct{})
	wg.Go(func() {
		write(t, s, composing("a", noon.Add(5*time.Minute)))
		close(written)
	})
	awaitBlocked(t, pool, 2, written) // it may succeed, or wait for the refresh
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if d := sums(t, pool).Total.Typing; d.Count != 2 || d.Seconds != 50 {
		t.Errorf("%d intervals of %g s together, want 2 of 50 s", d.Count, d.Seconds)
	}
}

// awaitBlocked waits until so many transactions wait for others, or something is done.
func awaitBlocked(t testing.TB, pool *pgxpool.Pool, transactions int, done <-chan struct{}) {
	t.Helper()
	for blocked := 0; blocked < transactions; {
		err := pool.QueryRow(t.Context(), `SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
			AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// named returns another pool of the same database, whose connections have a name.
func named(t testing.TB, pool *pgxpool.Pool, name string) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	config.ConnConfig.RuntimeParams["application_name"] = name
	other, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	return other
}

// awaitWaitingForWriters waits until the refresh on the connections of that name has looked for writers of events more than
// once, so that it waits for them.
func awaitWaitingForWriters(t testing.TB, pool *pgxpool.Pool, name string, refreshed <-chan error) {
	t.Helper()
	looks := map[time.Time]bool{}
	for len(looks) < 3 {
		var at *time.Time
		err := pool.QueryRow(t.Context(), `SELECT max(query_start) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = $1 AND query LIKE '-- name: OlderLocks%'`, name).Scan(&at)
		if err != nil {
			t.Fatal(err)
		}
		if at != nil {
			looks[*at] = true
		}
		select {
		case err := <-refreshed:
			t.Fatalf("the refresh did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestRefreshUnderLoad: late events arrive from several writers while two services refresh, at different moments. In the end
// the intervals are what a rebuild gives.
func TestRefreshUnderLoad(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	rng := pgtest.Rand(t)
	var refreshing, writing sync.WaitGroup
	for n := range 2 { // like two services, whose clocks differ
		refreshing.Go(func() {
			now := func() time.Time {
				return noon.Add(time.Duration(rng.IntN(60)) * time.Minute).Add(time.Duration(n) * time.Second)
			}
			for ctx.Err() == nil {
				if err := intervals.Refresh(ctx, pool, now, 0); err != nil && ctx.Err() == nil && !errors.Is(err, intervals.ErrBusy) {
					t.Error(err)
				}
			}
		})
	}
	for n := range 3 {
		writing.Go(func() {
			s := ingest.NewStore(pool)
			for i := range 150 {
				var batch []presence.Event
				for range 1 + rng.IntN(5) {
					at := noon.Add(-time.Hour).Add(time.Duration(rng.Int64N(int64(2 * time.Hour)))).Truncate(time.Microsecond)
					e := composing(fmt.Sprint(rng.IntN(20)), at)
					e.Status, e.Seq = presence.Statuses()[rng.IntN(5)], int16(n*1000+i)
					batch = append(batch, e)
				}
				write(t, s, batch...)
			}
		})
	}
	writing.Wait()
	stop()
	refreshing.Wait()
	pgtest.Eventually(t, "no contact is late", func() bool { // one that was stopped may hold its lock a little longer
		if err := intervals.Refresh(t.Context(), pool, clock, 0); err != nil {
			t.Fatal(err)
		}
		late := pgtest.Get[int](t, pool, "SELECT count(*) FROM contact_states WHERE checkpoint IS NOT NULL")
		return late == 0
	})
	kept := sums(t, pool)
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return intervals.Rebuild(t.Context(), tx, nil, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if rebuilt := sums(t, pool); fmt.Sprint(show(kept)) != fmt.Sprint(show(rebuilt)) {
		t.Errorf("kept current they are\n%v, rebuilt\n%v", show(kept), show(rebuilt))
	}
}

func show(s history.Sums) (list []float64) {
	for _, b := range append(s.Buckets, presence.Bucket{Summary: s.Total}) {
		for _, d := range []presence.Durations{b.Typing, b.Recording, b.InChat} {
			list = append(list, float64(d.Count), d.Seconds, d.ConfirmedSeconds)
		}
	}
	return list
}
