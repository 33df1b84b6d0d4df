package history_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/settings"
	"github.com/presencelog/presencelog/internal/spool"
)

// This program, started again by a test with these variables, rebuilds the intervals of a database up to a moment until it is
// killed.
const (
	rebuildVariable = "PRESENCELOG_TEST_REBUILD"
	untilVariable   = "PRESENCELOG_TEST_REBUILD_UNTIL"
)

func TestMain(m *testing.M) {
	if database := os.Getenv(rebuildVariable); database != "" {
		fmt.Fprintln(os.Stderr, rebuildForever(database, at(os.Getenv(untilVariable))))
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

func rebuildForever(database string, until time.Time) error {
	ctx := context.Background()
	pool, err := postgres.Connect(ctx, database, "rebuild", 2)
	for err == nil {
		if err = rebuild(ctx, pool, nil); err == nil {
			err = refresh(ctx, pool, until)
		}
	}
	return err
}

// rebuild rebuilds the intervals of all instances, or only of these.
func rebuild(ctx context.Context, pool *pgxpool.Pool, instances []int32) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return intervals.Rebuild(ctx, tx, instances, nil) })
}

// refresh does what serve does at a moment.
func refresh(ctx context.Context, pool *pgxpool.Pool, moment time.Time) error {
	return intervals.Refresh(ctx, pool, func() time.Time { return moment.Add(intervals.Lag) }, 0)
}

// kill kills a process in the middle of a rebuild.
func (w *world) kill(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), rebuildVariable+"="+w.pool.Config().ConnString(), untilVariable+"="+w.now.Format(time.RFC3339Nano))
	command.Stderr = t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	working := func(like string) (working bool) {
		err := w.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE application_name = 'presencelog rebuild' AND query LIKE $1 AND datname = current_database())`, like).Scan(&working)
		if err != nil {
			t.Fatal(err)
		}
		return working
	}
	pgtest.Eventually(t, "it rebuilds", func() bool { return working("%refresh_late_intervals%") })
	time.Sleep(time.Duration(w.rng.Int64N(int64(50 * time.Millisecond))))
	_ = command.Process.Kill()
	_ = command.Wait()
	if w.rng.IntN(2) == 0 { // PostgreSQL has not noticed yet
		w.compare(t)
	}
	pgtest.Eventually(t, "its connections end", func() bool { return !working("%") })
}

// outage receives events while the database is unavailable, so that they come from the spool later.
func (w *world) outage(t *testing.T, events []presence.Event) {
	t.Helper()
	if len(events) == 0 {
		return
	}
	dir, err := spool.Open(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	available := make(chan struct{})
	writer := ingest.NewWriter(ingest.Config{
		Pool: w.pool, Spool: dir, Timeout: pgtest.Timeout, Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler),
		Prepare: func(ctx context.Context) error {
			select {
			case <-available:
				return nil
			default:
				return errors.New("the database is unavailable")
			}
		},
	})
	defer writer.Close()
	var requests sync.WaitGroup
	for _, e := range events {
		requests.Go(func() {
			if err := writer.Write(t.Context(), &e); err != nil {
				t.Error(err)
			}
		})
	}
	requests.Wait()
	if dir.Bytes() == 0 {
		t.Fatal("the spool is empty")
	}
	if len(w.phones()) > 0 { // else there is no instance yet
		w.happen(t)
		w.compare(t)
	}
	close(available)
	pgtest.Eventually(t, "the spool is empty", func() bool { return dir.Bytes() == 0 })
	w.arrive(events)
}

// retain lets retention delete the events before a day.
func (w *world) retain(t *testing.T) {
	t.Helper()
	days := 1 + w.rng.IntN(2)
	horizon := w.now.AddDate(0, 0, -days).Truncate(24 * time.Hour)
	if !horizon.After(w.horizon) {
		return
	}
	w.horizon = horizon
	if err := settings.Set(t.Context(), w.pool, "", "retention", fmt.Sprint(days, "d")); err != nil {
		t.Fatal(err)
	}
	if _, err := retention.Run(t.Context(), w.pool, w.now); err != nil {
		t.Fatal(err)
	}
	old := func(e presence.Event) bool { return e.ReceivedAt.Before(horizon) }
	for phone, events := range w.arrived {
		kept := map[presence.Measure][]modelSpan{}
		for measure, list := range w.intervals(phone) {
			for _, s := range list {
				if s.start.Before(horizon) {
					kept[measure] = append(kept[measure], s.cut(events, horizon))
				}
			}
		}
		w.kept[phone] = kept
		if w.arrived[phone] = slices.DeleteFunc(events, old); len(w.arrived[phone]) == 0 {
			delete(w.arrived, phone)
		}
	}
	w.coming = slices.DeleteFunc(w.coming, old)
}

// cut ends an interval at the horizon, at the latest.
func (s modelSpan) cut(events []presence.Event, horizon time.Time) modelSpan {
	if !s.end.After(horizon) {
		return s
	}
	moments := map[time.Time]bool{}
	for _, e := range events {
		if !e.ReceivedAt.Before(s.start) && e.ReceivedAt.Before(horizon) {
			moments[e.ReceivedAt] = true
		}
	}
	_, confirmed := s.confirmed()
	s.end, s.endedBy, s.events, s.last = horizon, presence.ByTimeout, int64(len(moments)), minTime(confirmed, horizon)
	s.confirm()
	return s
}
