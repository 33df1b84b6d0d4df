package retention_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/settings"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var now = date(time.November, 22).Add(15 * time.Hour)

func date(month time.Month, day int) time.Time {
	return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
}

func connect(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Connect(t.Context(), url, "test", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func set(t *testing.T, pool *pgxpool.Pool, instance, name, value string) {
	t.Helper()
	if err := settings.Set(t.Context(), pool, instance, name, value); err != nil {
		t.Fatal(err)
	}
}

// fill stores an event for each of an instance's contacts at every step of a range.
func fill(t *testing.T, pool *pgxpool.Pool, instance string, contacts int, from, until time.Time, step time.Duration) {
	t.Helper()
	for at := from; at.Before(until); at = at.AddDate(0, 0, 27) {
		if err := postgres.MakePartitions(t.Context(), pool, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := postgres.MakePartitions(t.Context(), pool, until); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, pool, "INSERT INTO instances (name) VALUES ($1) ON CONFLICT DO NOTHING", instance)
	pgtest.Exec(t, pool, `INSERT INTO contacts (instance_id, phone) SELECT i.id, n::text FROM instances AS i, generate_series(1, $2) AS n
		WHERE i.name = $1 ON CONFLICT DO NOTHING`, instance, contacts)
	pgtest.Exec(t, pool, `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, at, 0, 1 FROM contacts AS c INNER JOIN instances AS i ON i.id = c.instance_id,
		generate_series($2::timestamptz, $3::timestamptz - interval '1 us', $4::interval) AS at WHERE i.name = $1`, instance, from, until, step)
}

// events counts an instance's events in [from, until).
func events(t *testing.T, pool *pgxpool.Pool, instance string, from, until time.Time) int64 {
	t.Helper()
	return pgtest.Get[int64](t, pool, `SELECT count(*) FROM events AS e INNER JOIN contacts AS c ON c.id = e.contact_id
		INNER JOIN instances AS i ON i.id = c.instance_id WHERE i.name = $1 AND received_at >= $2 AND received_at < $3`, instance, from, until)
}

func partitions(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	return pgtest.Get[string](t, pool, "SELECT string_agg(relid::regclass::text, ' ' ORDER BY relid::regclass::text) FROM pg_partition_tree('events') WHERE isleaf")
}

func run(t *testing.T, pool *pgxpool.Pool) retention.Report {
	t.Helper()
	r, err := retention.Run(t.Context(), pool, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func plan(t *testing.T, pool *pgxpool.Pool) retention.Report {
	t.Helper()
	r, err := retention.Plan(t.Context(), pool, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// all is everything that is in the database.
func all(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	return partitions(t, pool) + pgtest.Get[string](t, pool, `SELECT concat_ws(' ', (SELECT count(*) FROM events), (SELECT json_agg(i) FROM instances AS i),
		(SELECT count(*) FROM contacts), (SELECT json_agg(s) FROM settings AS s),
		(SELECT json_agg(r) FROM intervals AS r), (SELECT json_agg(r) FROM contact_states AS r))`)
}

var (
	shortFrom = date(time.October, 23) // 30 days before now's day
	longFrom  = date(time.September, 3)
)

// twoInstances keep their events for 30 and for 80 days, and have some since July.
func twoInstances(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	fill(t, pool, "short", 700, date(time.July, 20), now, 12*time.Hour) // more than go at once, in contacts and in events
	fill(t, pool, "long", 3, date(time.July, 25), now, 6*time.Hour)
	set(t, pool, "", "retention", "30d")
	set(t, pool, "long", "retention", "80d")
}

// Months that no instance keeps are dropped, from others old events are deleted, and Plan returns the same before.
func TestOldEventsAreDeleted(t *testing.T) {
	t.Parallel()
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooled=%v", pooled), func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			if pooled { // as postgres.Connect does it behind a pooler
				config := pool.Config()
				config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
				delete(config.ConnConfig.RuntimeParams, "plan_cache_mode")
				var err error
				if pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pool.Close)
			}
			twoInstances(t, pool)
			// Those at the horizon stay, those right before it go.
			fill(t, pool, "short", 1, shortFrom.Add(-time.Microsecond), shortFrom, time.Hour)
			fill(t, pool, "long", 1, longFrom.Add(-time.Microsecond), longFrom, time.Hour)
			wantShort, wantLong := events(t, pool, "short", shortFrom, now), events(t, pool, "long", longFrom, now)
			goShort, goLong := events(t, pool, "short", date(time.January, 1), shortFrom), events(t, pool, "long", date(time.January, 1), longFrom)
			contacts := pgtest.Get[int64](t, pool, "SELECT count(*) FROM contacts")

			before := all(t, pool)
			planned := plan(t, pool)
			if after := all(t, pool); after != before {
				t.Errorf("a plan changed\n%s to\n%s", before, after)
			}
			july := [...]time.Time{date(time.July, 25), date(time.July, 20)}
			want := retention.Report{
				Instances: []retention.Instance{
					{InstanceID: "long", EventsFrom: &longFrom, Events: goLong, OldestEventAt: &july[0]},
					{InstanceID: "short", EventsFrom: &shortFrom, Events: goShort, OldestEventAt: &july[1]},
				},
				Partitions: []string{"events_2026_07", "events_2026_08"},
			}
			if !reflect.DeepEqual(planned, want) {
				t.Errorf("planned\n%s, want\n%s", text(planned), text(want))
			}
			if gone := run(t, pool); !reflect.DeepEqual(gone, planned) {
				t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(planned))
			}
			if s, l := events(t, pool, "short", date(time.January, 1), now), events(t, pool, "long", date(time.January, 1), now); s != wantShort || l != wantLong {
				t.Errorf("short has %d events, long %d; want %d and %d", s, l, wantShort, wantLong)
			}
			if s := events(t, pool, "short", shortFrom, now); s != wantShort {
				t.Errorf("short has %d events since its horizon, want %d", s, wantShort)
			}
			if got := partitions(t, pool); got != "events_2026_09 events_2026_10 events_2026_11" {
				t.Errorf("left are %s", got)
			}
			if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM contacts"); n != contacts {
				t.Errorf("%d contacts, want %d", n, contacts)
			}
			if gone := run(t, pool); !gone.Empty() {
				t.Errorf("and then %s", text(gone))
			}
		})
	}
}

func TestNothingIsDeletedByDefault(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if err := postgres.MakePartitions(t.Context(), pool, date(time.January, 1)); err != nil {
		t.Fatal(err)
	}
	if gone := run(t, pool); !gone.Empty() { // not even an instance is there
		t.Errorf("gone is %s", text(gone))
	}
	fill(t, pool, "a", 1, date(time.January, 1), date(time.January, 3), time.Hour)
	set(t, pool, "b", "retention", "1d") // no other instance's business
	before := all(t, pool)
	gone := run(t, pool)
	if !gone.Empty() || partitions(t, pool) != "events_2026_01" || gone.Instances[0].EventsFrom != nil {
		t.Errorf("gone is %s", text(gone))
	}
	// Forever means forever, also where others have a default.
	set(t, pool, "a", "retention", "forever")
	set(t, pool, "a", "interval_retention", "forever")
	set(t, pool, "", "retention", "90d")
	set(t, pool, "", "interval_retention", "90d")
	gone = run(t, pool)
	if a := gone.Instances[0]; !gone.Empty() || a.EventsFrom != nil || a.IntervalsFrom != nil {
		t.Errorf("gone is %s of %s", text(gone), before)
	}
	if n := events(t, pool, "a", date(time.January, 1), now); n != 48 {
		t.Errorf("%d events are left", n)
	}
}

// What comes later from before the horizon goes the next time, also in a month that was dropped.
func TestOldEventsMayBeImportedAgain(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	fill(t, pool, "a", 2, date(time.August, 1), now, 24*time.Hour)
	set(t, pool, "", "retention", "30d")
	run(t, pool)
	if err := postgres.MakePartitionsAhead(t.Context(), pool, now); err != nil {
		t.Fatal(err)
	}
	const left = "events_2026_10 events_2026_11 events_2026_12 events_2027_01"
	if got := partitions(t, pool); got != left {
		t.Errorf("left are %s", got)
	}
	old := []presence.Event{
		{InstanceID: "a", Phone: "1", Status: presence.Available, ReceivedAt: date(time.August, 5)},
		{InstanceID: "a", Phone: "1", Status: presence.Available, ReceivedAt: shortFrom.Add(-time.Second)},
	}
	if added, err := ingest.NewStore(pool).Merge(t.Context(), old); added != 2 || err != nil {
		t.Fatal(added, err)
	}
	if got := partitions(t, pool); got != "events_2026_08 "+left {
		t.Errorf("there are %s", got)
	}
	if gone := run(t, pool); gone.Instances[0].Events != 2 || !slices.Equal(gone.Partitions, []string{"events_2026_08"}) {
		t.Errorf("gone is %s", text(gone))
	}
	if got := partitions(t, pool); got != left {
		t.Errorf("left are %s", got)
	}
	// A longer retention does not bring deleted events back, so their intervals cannot be rebuilt.
	set(t, pool, "", "retention", "300d")
	if added, err := ingest.NewStore(pool).Merge(t.Context(), old); added != 2 || err != nil {
		t.Fatal(added, err)
	}
	if gone := run(t, pool); !gone.Empty() {
		t.Errorf("gone is %s", text(gone))
	}
}

// A batch looks at the partition whose events it deletes, by its key, and at no other.
func TestBatchesTouchOnePartition(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := connect(t, url)
	fill(t, pool, "short", 700, date(time.October, 1), now, 24*time.Hour)
	set(t, pool, "keeps", "retention", "forever")
	set(t, pool, "short", "retention", "30d")
	refresh(t, pool)
	pgtest.Exec(t, pool, "VACUUM (ANALYZE) events")
	read := func(partition string) (scans, rows, deleted int64) {
		err := pool.QueryRow(t.Context(), "SELECT seq_scan + idx_scan, seq_tup_read + idx_tup_fetch, n_tup_del FROM pg_stat_user_tables WHERE relname = $1",
			partition).Scan(&scans, &rows, &deleted)
		if err != nil {
			t.Fatal(err)
		}
		return scans, rows, deleted
	}
	// The statistics have what a connection has done once it has ended.
	pool.Reset()
	pgtest.Eventually(t, "no other connection is left", func() bool {
		return pgtest.Get[int](t, pool, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`) == 0
	})
	runner := connect(t, url)
	otherScans, _, _ := read("events_2026_11")
	_, rowsBefore, _ := read("events_2026_10")
	gone := run(t, runner)
	runner.Close()
	const old = 700 * 22
	if gone.Instances[1].Events != old {
		t.Fatalf("gone is %s", text(gone))
	}
	var rows int64
	pgtest.Eventually(t, "the statistics have all deleted rows", func() bool {
		var deleted int64
		_, rows, deleted = read("events_2026_10")
		return deleted == old
	})
	if rows -= rowsBefore; rows > 3*old {
		t.Errorf("it read %d rows to delete %d", rows, old)
	}
	if scans, _, _ := read("events_2026_11"); scans != otherScans {
		t.Errorf("it looked %d times at a partition that has nothing to delete", scans-otherScans)
	}
}
