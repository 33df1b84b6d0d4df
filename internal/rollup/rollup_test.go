package rollup_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/rollup"
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

// sums is all that is rolled up and what the events add to it.
func sums(t testing.TB, pool *pgxpool.Pool) history.Sums {
	t.Helper()
	d, err := history.NewReader(pool, clock).InstanceDurations(t.Context(), "i", history.Calendar{
		Range: history.Range{From: noon.Add(-time.Hour), To: clock()}, Bucket: history.Hour, Zone: time.UTC,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A batch whose transaction began before the rollups were advanced took its events for early enough. It may commit when
// its slots would long have been rolled up.
func TestRollupsAwaitTransactionsThatStillWrite(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, composing("a", noon.Add(-time.Minute)), composing("b", noon.Add(-time.Minute))) // known from now on

	// Writes to the table wait, so that the batch hangs within its transaction.
	block, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = block.Rollback(context.Background()) }()
	if _, err := block.Exec(t.Context(), `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, $1, 0, 3 FROM contacts AS c WHERE phone = 'b'`, noon); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { write(t, s, composing("a", noon), composing("b", noon)) }) // b's key is taken, perhaps
	awaitBlocked(t, pool)
	rolled := make(chan error, 1)
	go func() { rolled <- rollup.Run(t.Context(), pool, clock, 0) }()
	select {
	case err := <-rolled:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-rolled; err != nil {
		t.Fatal(err)
	}
	if d := sums(t, pool).Total.Typing; d.Count != 4 || d.Seconds != 100 {
		t.Errorf("%d spans of %g s together, want 4 of 100 s", d.Count, d.Seconds)
	}
}

// An event that comes while its slot is being rolled up, too late to be seen, makes the slot stale again.
func TestALateEventIsNotMissedWhileItsSlotIsRolledUp(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, composing("a", noon))
	if _, err := pool.Exec(t.Context(), "SELECT advance_rollups($1)", clock()); err != nil {
		t.Fatal(err)
	}
	// Somebody else writes the same row, so that rolling up hangs after it has read the events.
	block, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = block.Rollback(context.Background()) }()
	if _, err := block.Exec(t.Context(), `INSERT INTO rollups SELECT $1, $1, 0, 0, i.id, 0, 'typing', ''
		FROM instances AS i`, noon); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := rollup.Step(context.Background(), pool, clock(), 24*time.Hour); err != nil {
			t.Error(err)
		}
	})
	awaitBlocked(t, pool)
	wg.Go(func() { write(t, s, composing("a", noon.Add(5*time.Minute))) })
	time.Sleep(300 * time.Millisecond) // it may get through, or wait
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if d := sums(t, pool).Total.Typing; d.Count != 2 || d.Seconds != 50 {
		t.Errorf("%d spans of %g s together, want 2 of 50 s", d.Count, d.Seconds)
	}
}

// awaitBlocked waits until a transaction waits for another one.
func awaitBlocked(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	for waiting := false; !waiting; time.Sleep(time.Millisecond) {
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
			AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Late events come in from several sides while everything is being rolled up again and again. In the end the rollups are
// what they would be, had all events been there at once.
func TestRollupsUnderWay(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var rolling, writing sync.WaitGroup
	for n := range 2 { // like two services, whose clocks differ
		rolling.Go(func() {
			now := func() time.Time {
				return noon.Add(time.Duration(rand.N(60)) * time.Minute).Add(time.Duration(n) * time.Second)
			}
			for ctx.Err() == nil {
				if err := rollup.Run(ctx, pool, now, 0); err != nil && ctx.Err() == nil && !errors.Is(err, rollup.ErrBusy) {
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
				for range 1 + rand.N(5) {
					at := noon.Add(-time.Hour).Add(rand.N(2 * time.Hour)).Truncate(time.Microsecond)
					e := composing(fmt.Sprint(rand.N(20)), at)
					e.Status, e.Seq = presence.Statuses()[rand.N(5)], int16(n*1000+i)
					batch = append(batch, e)
				}
				write(t, s, batch...)
			}
		})
	}
	writing.Wait()
	stop()
	rolling.Wait()
	stale := 1
	for deadline := time.Now().Add(time.Minute); stale > 0; { // one that was stopped may hold its lock a little longer
		if err := rollup.Run(t.Context(), pool, clock, 0); err != nil {
			t.Fatal(err)
		}
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM rollup_stale").Scan(&stale); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d ranges stay stale", stale)
		}
	}
	kept := sums(t, pool)
	if err := rollup.Rebuild(t.Context(), pool, clock, func(_, _ time.Duration) {}); err != nil {
		t.Fatal(err)
	}
	if anew := sums(t, pool); fmt.Sprint(show(kept)) != fmt.Sprint(show(anew)) {
		t.Errorf("kept current they are\n%v, made anew\n%v", show(kept), show(anew))
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
