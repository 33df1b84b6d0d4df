package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

// TestNewInstancesCostTheFeedNothing: the timeouts are read each second. That must not take longer with each instance that a
// sender makes up, nor make the hub ask for the states of all contacts again.
func TestNewInstancesCostTheFeedNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// One connection for all, whose counts are complete when they are asked for.
	pool, err := postgres.Connect(ctx, pgtest.URL(t), "timeouts", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	const instances = 4000
	if _, err := pool.Exec(ctx, "INSERT INTO instances (name) SELECT i::text FROM generate_series(1, $1::integer) AS i", instances); err != nil {
		t.Fatal(err)
	}
	if err := settings.Set(ctx, pool, "7", "typing_timeout", "40s"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE instances"); err != nil { // as autovacuum does
		t.Fatal(err)
	}
	h := newHub(t, pool, presence.Now) // asleep, so that nothing but this test reads
	h.loaded = true
	later := presence.Now().Add(time.Hour)
	f := follower{}
	read := func() (rows int64) {
		t.Helper()
		for _, sign := range []int64{-1, 1} {
			if sign > 0 {
				if err := f.readTimeouts(ctx, h); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := pool.Exec(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
				t.Fatal(err)
			}
			var n int64
			if err := pool.QueryRow(ctx, `SELECT seq_tup_read + coalesce(idx_tup_fetch, 0)
				FROM pg_stat_user_tables WHERE relname = 'instances'`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			rows += sign * n
		}
		return rows
	}
	read()
	f.reconcileAt = later
	for i := range 3 {
		event := presence.Event{InstanceID: fmt.Sprint("new ", i), Phone: "p", Status: presence.Composing, ReceivedAt: presence.Now()}
		if err := ingest.NewStore(pool).Write(ctx, []presence.Event{event}); err != nil {
			t.Fatal(err)
		}
		if rows := read(); rows > 10 {
			t.Errorf("%d rows of %d instances were read", rows, instances)
		}
		if !f.reconcileAt.Equal(later) {
			t.Fatal("a new instance counts as a setting that has changed")
		}
	}
	for instance, want := range map[string]time.Duration{"7": 40 * time.Second, "8": 25 * time.Second, "new 1": 25 * time.Second} {
		if got := h.timeoutsOf(instance).Typing; got != want {
			t.Errorf("the timeout of %s is %s, want %s", instance, got, want)
		}
	}
	if err := settings.Reset(ctx, pool, "7", "typing_timeout"); err != nil {
		t.Fatal(err)
	}
	if read(); !f.reconcileAt.IsZero() || h.timeoutsOf("7").Typing != 25*time.Second {
		t.Error("a timeout that was reset is still in force")
	}
}
