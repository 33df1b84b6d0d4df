package intervals_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// rebuildVariable names the database that this program, started again by a test, is to rebuild.
const rebuildVariable = "PRESENCELOG_TEST_REBUILD"

// rebuildForever rebuilds until it is killed.
func rebuildForever(database string) error {
	ctx := context.Background()
	pool, err := postgres.Connect(ctx, database, "rebuild", 2)
	for err == nil {
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return intervals.Rebuild(ctx, tx, nil, nil) })
		if err == nil {
			err = intervals.Refresh(ctx, pool, clock, 0)
		}
	}
	return err
}

// TestKilledRebuildLosesNothing kills processes that rebuild and refresh, at any moment. What is stored stays complete.
func TestKilledRebuildLosesNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var events []presence.Event
	for i := range 40_000 {
		events = append(events, presence.Event{
			InstanceID: "i", Phone: fmt.Sprint(i % 200), Status: presence.Statuses()[i*7%5],
			ReceivedAt: noon.Add(-time.Hour).Add(time.Duration(i) * 150 * time.Millisecond),
		})
	}
	if _, err := ingest.NewStore(pool).Merge(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if err := intervals.Refresh(t.Context(), pool, clock, 0); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(show(sums(t, pool)))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for kill := range 5 {
		command := exec.Command(program)
		command.Env = append(os.Environ(), rebuildVariable+"="+pool.Config().ConnString())
		command.Stderr = t.Output()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Eventually(t, "it rebuilds", func() (working bool) {
			err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE application_name = 'presencelog rebuild' AND query LIKE '%refresh_late_intervals%' AND datname = current_database())`).Scan(&working)
			if err != nil {
				t.Fatal(err)
			}
			return working
		})
		time.Sleep(time.Duration(kill*40) * time.Millisecond)
		_ = command.Process.Kill()
		_ = command.Wait()
		if got := fmt.Sprint(show(sums(t, pool))); got != want {
			t.Errorf("after kill %d there is\n%s, want\n%s", kill, got, want)
		}
	}
	if err := intervals.Refresh(t.Context(), pool, clock, 0); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(show(sums(t, pool))); got != want {
		t.Errorf("in the end there is\n%s, want\n%s", got, want)
	}
}
