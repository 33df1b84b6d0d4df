package settings_test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func set(t *testing.T, pool *pgxpool.Pool, instance, name, text string) {
	t.Helper()
	if err := settings.Set(t.Context(), pool, instance, name, text); err != nil {
		t.Fatal(err)
	}
}

// A timeout that changes rebuilds the intervals of those instances where it holds, and nothing else does.
func TestTimeoutRebuildsIntervals(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	set(t, pool, "own", "typing_timeout", "40s")
	set(t, pool, "plain", "retention", "90d")
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	events := []presence.Event{
		{InstanceID: "own", Phone: "1", Status: presence.Composing, ReceivedAt: at},
		{InstanceID: "plain", Phone: "1", Status: presence.Composing, ReceivedAt: at},
	}
	if _, err := ingest.NewStore(pool).Merge(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if err := intervals.Refresh(t.Context(), pool, presence.Now, 0); err != nil {
		t.Fatal(err)
	}
	built := func() (xmins map[string]string) {
		xmins = map[string]string{}
		rows, _ := pool.Query(t.Context(), `SELECT n.name, i.xmin::text FROM intervals AS i INNER JOIN instances AS n ON n.id = i.instance_id
			WHERE measure = 'v'`)
		var name, xmin string
		if _, err := pgx.ForEachRow(rows, []any{&name, &xmin}, func() error { xmins[name] = xmin; return nil }); err != nil {
			t.Fatal(err)
		}
		return xmins
	}
	for _, test := range []struct {
		instance, name, text string
		want                 []string
	}{
		{"", "typing_timeout", "30s", []string{"plain"}},
		{"", "typing_timeout", "30s", nil},
		{"plain", "typing_timeout", "30s", nil}, // its own now, and the same as before
		{"", "typing_timeout", "1m", nil},
		{"", "presence_timeout", "1m", []string{"own", "plain"}},
		{"own", "recording_timeout", "90s", []string{"own"}},
		{"own", "recording_timeout", "", []string{"own"}},
		{"own", "recording_timeout", "", nil},
		{"", "time_zone", "America/Sao_Paulo", nil},
		{"", "retention", "90d", nil},
		{"new", "retention", "30d", nil},
		{"", "interval_retention", "2y", nil},
	} {
		before := built()
		if test.text != "" {
			set(t, pool, test.instance, test.name, test.text)
		} else if err := settings.Reset(t.Context(), pool, test.instance, test.name); err != nil {
			t.Fatal(err)
		}
		var got []string
		for name, xmin := range built() {
			if before[name] != xmin {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v rebuilt %q", test, got)
		}
	}
	length := pgtest.Get[time.Duration](t, pool, `SELECT ended_at - started_at FROM intervals
		WHERE measure = 't' AND instance_id = (SELECT id FROM instances WHERE name = 'plain')`)
	if length != 30*time.Second {
		t.Errorf("typing lasts %s, want the new timeout of 30s", length)
	}
}

// Concurrent changes of different settings do not overwrite each other.
func TestChangeSettingsConcurrently(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	want := map[string]string{}
	var wg sync.WaitGroup
	for name, text := range map[string]string{
		"typing_timeout": "31s", "recording_timeout": "32s", "presence_timeout": "33s", "time_zone": "Asia/Kolkata", "retention": "34d",
	} {
		want[name] = text
		wg.Add(2)
		for _, instance := range []string{"", "i"} {
			go func() {
				defer wg.Done()
				if err := settings.Set(t.Context(), pool, instance, name, text); err != nil {
					t.Error(err)
				}
			}()
		}
	}
	wg.Wait()
	s, err := settings.Read(t.Context(), pool)
	if err != nil || len(s.Instances) != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	for _, one := range settings.All {
		if one.Name == "interval_retention" {
			continue
		}
		for _, values := range []settings.Values{s.Default, s.Instances[0].Own} {
			if got := one.Show(values[one.Name]); got != want[one.Name] {
				t.Errorf("%s is %s, want %s", one.Name, got, want[one.Name])
			}
		}
	}
}

func TestDurationFormats(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for text, want := range map[string]string{
		"90d": "90d", "12w": "84d", "720h": "30d", "2y": "730d", "100y": "36500d", "25h30m": "25h30m0s", "24h0m0.000001s": "24h0m0.000001s",
		"forever": "forever",
	} {
		for _, instance := range []string{"", "i"} {
			set(t, pool, instance, "retention", text)
			s, err := settings.Read(t.Context(), pool)
			if err != nil {
				t.Fatal(err)
			}
			values := s.Default
			if instance != "" {
				values = s.Instances[0].Own
			}
			for _, one := range settings.All {
				if got := one.Show(values[one.Name]); one.Name == "retention" && got != want {
					t.Errorf("%q is shown as %q, want %q", text, got, want)
				}
			}
		}
	}
}

// What one may set depends on what others are setting at that moment, also of all instances.
func TestSettingsChangeOneAfterAnother(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	set(t, pool, "i", "retention", "10d")
	set(t, pool, "", "interval_retention", "forever")
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "UPDATE settings SET interval_retention = '20 days'")
	done := make(chan error, 1)
	go func() { done <- settings.Set(t.Context(), pool, "i", "retention", "30d") }()
	pgtest.AwaitBlocked(t, pool, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("intervals of i would be kept shorter than its events")
	}
}

// An erasure of the instance has locked the intervals, and deletes the instance later.
func TestSetTimeoutDuringErasure(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	set(t, pool, "i", "typing_timeout", "10s")
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "SELECT FROM interval_progress FOR UPDATE")
	done := make(chan error, 1)
	go func() { done <- settings.Set(t.Context(), pool, "i", "typing_timeout", "30s") }()
	pgtest.AwaitBlocked(t, pool, done)
	if _, err := tx.Exec(t.Context(), "DELETE FROM instances"); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
