package retention_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
)

// withVisits stores visits of all lengths in an instance, many of them across its horizon, and their intervals.
func withVisits(t *testing.T, pool *pgxpool.Pool) (events []presence.Event) {
	t.Helper()
	pgtest.Exec(t, pool, "UPDATE interval_progress SET watermark = $1, cutoff = $1", now.Add(-intervals.Lag))
	add := func(phone string, status presence.Status, at time.Time) {
		events = append(events, presence.Event{InstanceID: "a", Phone: phone, Status: status, ReceivedAt: at})
	}
	for at := shortFrom.AddDate(0, 0, -3); at.Before(shortFrom.AddDate(0, 0, 3)); at = at.Add(20 * time.Minute) {
		add("regular", presence.Composing, at)
	}
	// Each has an event every 2 minutes, from n minutes before the horizon on; some leave before it, some right after it, some late.
	for n := range 60 {
		for k := range n%4*n/3 + 1 {
			status := presence.Available
			if k%3 == 0 {
				status = presence.Composing
			}
			add(fmt.Sprint("visit ", n), status, shortFrom.Add(time.Duration(2*k-n)*time.Minute))
		}
	}
	for at := shortFrom.Add(-6 * time.Hour); at.Before(shortFrom.Add(6 * time.Hour)); at = at.Add(4 * time.Minute) {
		add("long", presence.Available, at)
	}
	for at := shortFrom.Add(-time.Hour); at.Before(now); at = at.Add(4 * time.Minute) {
		add("not finished", presence.Available, at)
	}
	for rng, n := pgtest.Rand(t), 0; n < 30; n++ {
		for at := shortFrom.Add(-time.Duration(rng.Int64N(int64(time.Hour)))); at.Before(shortFrom.Add(time.Hour)); {
			add(fmt.Sprint("random ", n), presence.Statuses()[rng.IntN(5)], at.Truncate(time.Microsecond))
			at = at.Add(time.Duration(rng.Int64N(int64([]time.Duration{20 * time.Second, time.Minute, 8 * time.Minute}[rng.IntN(3)]))))
		}
	}
	slices.SortStableFunc(events, func(a, b presence.Event) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	merge(t, pool, events)
	refresh(t, pool)
	set(t, pool, "", "retention", "30d")
	return events
}

func merge(t *testing.T, pool *pgxpool.Pool, events []presence.Event) {
	t.Helper()
	if _, err := ingest.NewStore(pool).Merge(t.Context(), slices.Clone(events)); err != nil {
		t.Fatal(err)
	}
}

func refresh(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	if err := intervals.Refresh(t.Context(), pool, func() time.Time { return now }, 0); err != nil {
		t.Fatal(err)
	}
}

func rebuild(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return intervals.Rebuild(t.Context(), tx, nil, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

// sums is what all contacts did in each hour: the time and how many intervals started. Of those cut at the horizon the
// length is another one, and left out.
func sums(t *testing.T, pool *pgxpool.Pool, from, to time.Time) string {
	t.Helper()
	d, err := history.NewReader(pool, func() time.Time { return now }).Durations(t.Context(), "a", "",
		history.Calendar{Range: history.Range{From: from, To: to}, Bucket: history.Hour, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, b := range d.Buckets {
		for _, d := range []presence.Durations{b.Typing, b.Recording, b.InChat} {
			all += fmt.Sprintf("%d %.6f %.6f ", d.Count, d.Seconds, d.ConfirmedSeconds)
		}
		all += "\n"
	}
	return all
}

// TestIntervalsOutliveEvents: what was stored of the time before the horizon stays to the microsecond, though the events are
// gone; what starts from there on follows from the events that are left, also after a rebuild.
func TestIntervalsOutliveEvents(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	events := withVisits(t, pool)
	first, last := shortFrom.AddDate(0, 0, -4), shortFrom.AddDate(0, 0, 5)
	before, after := sums(t, pool, first, shortFrom), sums(t, pool, shortFrom, last)
	if gone := run(t, pool); gone.Instances[0].Events == 0 || gone.Instances[0].Intervals != 0 {
		t.Fatalf("gone is %s", text(gone))
	}
	fresh := pgtest.New(t) // has only the events that are left
	merge(t, fresh, slices.DeleteFunc(slices.Clone(events), func(e presence.Event) bool { return e.ReceivedAt.Before(shortFrom) }))
	left := sums(t, fresh, shortFrom, last)
	if left == after {
		t.Fatal("no visit crosses the horizon")
	}
	check := func(when string) {
		t.Helper()
		if got := sums(t, pool, first, shortFrom); got != before {
			t.Errorf("%s, before the horizon there is\n%s, was\n%s", when, got, before)
		}
		if got := sums(t, pool, shortFrom, last); got != left {
			t.Errorf("%s, after the horizon there is\n%s, want\n%s", when, got, left)
		}
	}
	check("at once")
	refresh(t, pool)
	check("after a refresh")
	rebuild(t, pool)
	check("after a rebuild")
	if gone := run(t, pool); !gone.Empty() {
		t.Errorf("and then %s", text(gone))
	}
	check("after another run")

	// A late event at the horizon does not touch what cannot be rebuilt.
	late := presence.Event{InstanceID: "a", Phone: "long", Status: presence.Available, ReceivedAt: shortFrom.Add(time.Second)}
	merge(t, pool, []presence.Event{late})
	refresh(t, pool)
	if got := sums(t, pool, first, shortFrom); got != before {
		t.Errorf("after a late event, before the horizon there is\n%s, was\n%s", got, before)
	}

	// With all events imported again, everything is as it was.
	set(t, pool, "", "retention", "forever")
	pgtest.Exec(t, pool, "DELETE FROM events WHERE received_at = $1", late.ReceivedAt)
	merge(t, pool, events)
	for _, what := range []string{"imported again", "and refreshed", "and rebuilt"} {
		if got := sums(t, pool, first, shortFrom) + sums(t, pool, shortFrom, last); got != before+after {
			t.Errorf("%s there is\n%s, was\n%s", what, got, before+after)
		}
		if what == "imported again" {
			refresh(t, pool)
		} else {
			rebuild(t, pool)
		}
	}
}

// TestLateEventsAreStoredBeforeDeletion: retention first stores what follows from events that have not been read yet.
func TestLateEventsAreStoredBeforeDeletion(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	withVisits(t, pool)
	merge(t, pool, []presence.Event{
		{InstanceID: "a", Phone: "late", Status: presence.Recording, ReceivedAt: shortFrom.AddDate(0, 0, -2)},
	})
	before := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom)
	run(t, pool)
	if got := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom); got != before {
		t.Errorf("before the horizon there is\n%s, was\n%s", got, before)
	}
}

// TestIntervalsAreStoredBeforeDeletionByAnother: the same while another process refreshes, and so this one does not.
func TestIntervalsAreStoredBeforeDeletionByAnother(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	withVisits(t, pool)
	refresh(t, pool)
	merge(t, pool, []presence.Event{
		{InstanceID: "a", Phone: "late", Status: presence.Recording, ReceivedAt: shortFrom.AddDate(0, 0, -2)},
	})
	before := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom)
	other, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(t.Context())
	pgtest.Exec(t, other, "SELECT FROM interval_progress FOR UPDATE")
	done := make(chan error, 1)
	go func() {
		_, err := retention.Run(t.Context(), pool, now)
		done <- err
	}()
	pgtest.Eventually(t, "retention waits for the other process", func() bool {
		return pgtest.Get[int64](t, pool, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom); got != before {
		t.Errorf("before the horizon there is\n%s, was\n%s", got, before)
	}
}

// TestOldWatermark: the service was down for longer than events are kept.
func TestOldWatermark(t *testing.T) {
	t.Parallel()
	events := withVisits(t, pgtest.New(t))
	pool := pgtest.New(t)
	pgtest.Exec(t, pool, "UPDATE interval_progress SET watermark = $1, cutoff = $1", shortFrom.AddDate(0, 0, -10))
	merge(t, pool, events)
	set(t, pool, "", "retention", "30d")
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM intervals"); n > 0 {
		t.Fatalf("%d intervals are stored before", n)
	}
	before := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom)
	run(t, pool)
	if got := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom); got != before {
		t.Errorf("before the horizon there is\n%s, was\n%s", got, before)
	}
}

// TestOldIntervalsAreDeleted: intervals have a retention of their own, which is not shorter than that of events.
func TestOldIntervalsAreDeleted(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	withVisits(t, pool)
	from := shortFrom.AddDate(0, 0, -1)
	set(t, pool, "", "interval_retention", "31d")
	kept := sums(t, pool, from, shortFrom)
	old := pgtest.Get[int64](t, pool, "SELECT count(*) FROM intervals WHERE started_at < $1", from)
	planned := plan(t, pool)
	if i := planned.Instances[0]; i.Intervals != old || old == 0 || !i.IntervalsFrom.Equal(from) {
		t.Errorf("planned is %s, want %d intervals", text(planned), old)
	}
	if gone := run(t, pool); text(gone) != text(planned) {
		t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(planned))
	}
	if got := sums(t, pool, from, shortFrom); got != kept {
		t.Errorf("left is\n%s, want\n%s", got, kept)
	}
	set(t, pool, "", "interval_retention", "30d") // as long as events
	planned = plan(t, pool)
	if gone := run(t, pool); text(gone) != text(planned) || gone.Instances[0].Intervals == 0 {
		t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(planned))
	}
}

// A visit contains the horizon. What the remaining events say of it stays, also if intervals are kept as long as events.
func TestVisitAcrossTheHorizonOfIntervals(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var visit []presence.Event
	for minutes, status := range map[time.Duration]presence.Status{-2: presence.Available, 1: presence.Composing, 4: presence.Available} {
		visit = append(visit, presence.Event{
			InstanceID: "a", Phone: "p", Status: status, ReceivedAt: shortFrom.Add(minutes * time.Minute),
		})
	}
	pgtest.Exec(t, pool, "UPDATE interval_progress SET watermark = $1, cutoff = $1", now.Add(-intervals.Lag))
	merge(t, pool, visit)
	refresh(t, pool)
	set(t, pool, "", "retention", "30d")
	set(t, pool, "", "interval_retention", "30d")
	run(t, pool)
	for _, when := range []string{"at once", "after a refresh"} {
		if d := presenceOf(t, pool, "p", shortFrom.AddDate(0, 0, -1), now); d.Count != 1 || d.Seconds != 8*60 {
			t.Errorf("%s: %d visits of %g s", when, d.Count, d.Seconds)
		}
		refresh(t, pool)
	}
	if zero := pgtest.Get[int64](t, pool, "SELECT count(*) FROM interval_sums WHERE starts = 0 AND micros = 0"); zero != 0 {
		t.Errorf("there are %d empty sums", zero)
	}
}

// presenceOf returns what a contact of instance a did in a range.
func presenceOf(t *testing.T, pool *pgxpool.Pool, phone string, from, to time.Time) presence.Durations {
	t.Helper()
	d, err := history.NewReader(pool, func() time.Time { return now }).Durations(t.Context(), "a", phone,
		history.Calendar{Range: history.Range{From: from, To: to}, Bucket: history.NoBucket, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	return d.Total.InChat
}

// TestLateEventDuringCut: the state of a contact is deleted while a writer of a late event waits for it.
func TestLateEventDuringCut(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	available := func(at time.Time) []presence.Event {
		return []presence.Event{{InstanceID: "a", Phone: "p", Status: presence.Available, ReceivedAt: at}}
	}
	merge(t, pool, available(shortFrom.AddDate(0, 0, -2)))
	refresh(t, pool)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "SELECT cut_intervals(id, $1, $2) FROM instances", shortFrom, now)
	late := shortFrom.Add(time.Hour)
	done := make(chan error, 1)
	go func() { done <- ingest.NewStore(pool).Write(t.Context(), available(late)) }()
	pgtest.AwaitBlocked(t, pool, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at once", "after a refresh"} {
		if d := presenceOf(t, pool, "p", late, now); d.Count != 1 || d.Seconds != 300 {
			t.Errorf("%s: %d visits of %g s", when, d.Count, d.Seconds)
		}
		refresh(t, pool)
	}
}

// TestVisitWithoutEvents: it is still shown, and ends where events begin that are imported again.
func TestVisitWithoutEvents(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	start := shortFrom.AddDate(0, 0, -2)
	var events []presence.Event
	for minute := range 60 {
		events = append(events, presence.Event{
			InstanceID: "a", Phone: "p", Status: presence.Available, ReceivedAt: start.Add(time.Duration(minute) * time.Minute),
		})
	}
	merge(t, pool, events)
	refresh(t, pool)
	set(t, pool, "", "retention", "30d")
	run(t, pool)
	lanes, err := history.NewReader(pool, func() time.Time { return now }).Lanes(t.Context(), "a", "p", history.Range{From: start, To: now}, 10)
	if err != nil || len(lanes.Spans) != 1 || !lanes.Spans[0].Start.Equal(start) || len(lanes.Unknown) > 0 {
		t.Errorf("lanes are %+v (%v)", lanes, err)
	}
	set(t, pool, "", "retention", "forever")
	merge(t, pool, events[30:31])
	for _, when := range []string{"at once", "after a refresh"} {
		if d := presenceOf(t, pool, "p", start, now); d.Count != 2 || d.Seconds != 35*60 {
			t.Errorf("%s: %d visits of %g s", when, d.Count, d.Seconds)
		}
		refresh(t, pool)
	}
}
