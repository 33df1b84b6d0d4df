package history_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// TestClockChangeOffTheQuarterHour: intervals are cut where the clocks change, also at a minute past the hour.
func TestClockChangeOffTheQuarterHour(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, change string }{
		{"Antarctica/Casey", "2021-10-02T16:01:00Z"},
		{"America/St_Johns", "2010-11-07T02:31:00Z"},
		{"America/Goose_Bay", "2011-03-13T04:01:00Z"},
		{"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	} {
		t.Run(test.zone, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			zone, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			change := at(test.change)
			var events []presence.Event
			for moment := change.Add(-100 * time.Minute); moment.Before(change.Add(100 * time.Minute)); moment = moment.Add(7 * time.Minute) {
				for i, status := range []presence.Status{presence.Available, presence.Composing, presence.Paused} {
					events = append(events, presence.Event{
						InstanceID: "i", Phone: "p", Status: status, ReceivedAt: moment.Add(time.Duration(i*43) * time.Second),
					})
				}
			}
			others := slices.Clone(events) // of another instance, which do not count
			for i := range others {
				others[i].InstanceID = "other"
			}
			store(t, pool, slices.Concat(events, others))
			w := &world{pool: pool, now: change.Add(24 * time.Hour)}
			w.refresh(t, w.now)
			timeouts := presence.Timeouts{Typing: 25 * time.Second, Recording: 25 * time.Second, Presence: 5 * time.Minute}
			visits := modelVisits(modelSpans(events, timeouts, w.now))
			reader := history.NewReader(pool, func() time.Time { return w.now })
			in := history.Range{From: change.Add(-30 * time.Hour), To: change.Add(20 * time.Hour)}
			for _, bucket := range []history.Bucket{history.Hour, history.Day} {
				d, err := reader.Durations(t.Context(), "i", "", history.Calendar{Range: in, Bucket: bucket, Zone: zone})
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range d.Buckets {
					if want := modelDurations(visits, b.Start, b.End); !sameDurations(b.InChat, want) {
						t.Errorf("%s %s – %s: got %s, want %s", bucket, b.Start, b.End, show(b.InChat), show(want))
					}
					if bucket != history.Day || b.Start.Equal(in.From) || b.End.Equal(in.To) {
						continue
					}
					// A day of the view is the day of the calendar.
					got := pgtest.Get[float64](t, pool, "SELECT coalesce(sum(in_chat_seconds), 0) FROM analytics.daily($1, $2::text::date, $2::text::date, 'i')",
						test.zone, b.End.Add(-time.Hour).In(zone).Format(time.DateOnly))
					if !near(got, b.InChat.Seconds) {
						t.Errorf("daily of %s: %f, want %f", b.End.Add(-time.Hour).In(zone), got, b.InChat.Seconds)
					}
				}
			}
			heatmap, err := reader.Heatmap(t.Context(), "i", "", presence.MeasureInChat, in, zone)
			if err != nil {
				t.Fatal(err)
			}
			if want := modelHeat(visits, in, zone); !slices.EqualFunc(heatmap.Cells, want, sameHeat) {
				t.Errorf("heat map\n%v, want\n%v", heatmap.Cells, want)
			}
		})
	}
}

func TestDailyHasNoRowForADayThatDidNotExist(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var events []presence.Event
	for moment := at("2011-12-30T08:00:00Z"); moment.Before(at("2011-12-30T12:00:00Z")); moment = moment.Add(4 * time.Minute) {
		events = append(events, presence.Event{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: moment})
	}
	store(t, pool, events)
	pgtest.Exec(t, pool, "UPDATE instances SET time_zone = 'Pacific/Apia'")
	for _, from := range []string{
		"daily('Pacific/Apia', '2011-12-29', '2011-12-31')", "daily WHERE day BETWEEN '2011-12-29' AND '2011-12-31'",
		"instance_daily WHERE day BETWEEN '2011-12-29' AND '2011-12-31'",
	} {
		days := pgtest.Get[string](t, pool, "SELECT string_agg(day || ' ' || in_chat_seconds::integer, ', ' ORDER BY day) FROM analytics."+from)
		if days != "2011-12-29 7200, 2011-12-31 7260" {
			t.Errorf("%s: %s", from, days)
		}
	}
	rows := pgtest.Get[int](t, pool, "SELECT count(*) FROM analytics.daily('Pacific/Apia', '2011-12-30', '2011-12-30')")
	if rows != 0 {
		t.Errorf("%d rows for a day that did not exist", rows)
	}
}

// TestFutureEventsAreIncluded: a receiver's clock may be ahead.
func TestFutureEventsAreIncluded(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	now := at("2026-03-10T12:00:00Z")
	store(t, pool, []presence.Event{
		{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: now.Add(time.Minute)},
		{InstanceID: "i", Phone: "p", Status: presence.Unavailable, ReceivedAt: now.Add(2 * time.Minute)},
	})
	reader := history.NewReader(pool, func() time.Time { return now })
	over := history.Calendar{Range: history.Range{From: now.Add(-time.Hour), To: now.Add(time.Hour)}, Bucket: history.NoBucket, Zone: time.UTC}
	one, err := reader.Durations(t.Context(), "i", "p", over)
	if err != nil {
		t.Fatal(err)
	}
	all, err := reader.Durations(t.Context(), "i", "", over)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(show(one.Total.Typing)) != fmt.Sprint(show(all.Total.Typing)) || one.Total.Typing.Count != 1 || math.IsNaN(one.Total.InChat.Seconds) {
		t.Errorf("the contact has %s, the instance %s", show(one.Total.Typing), show(all.Total.Typing))
	}
}

// TestFunctionsCountFutureEventsLikeViews: also those after the present hour and day.
func TestFunctionsCountFutureEventsLikeViews(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	soon := presence.Now().Add(20 * time.Hour)
	store(t, pool, []presence.Event{
		{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: soon},
		{InstanceID: "i", Phone: "p", Status: presence.Unavailable, ReceivedAt: soon.Add(time.Minute)},
	})
	for _, from := range []string{"hourly", "daily", "hourly()", "daily()", "daily('Pacific/Kiritimati')", "daily('Pacific/Pago_Pago')"} {
		var typing, visits int
		err := pool.QueryRow(t.Context(), "SELECT sum(typing_count), sum(visit_count) FROM analytics."+from).Scan(&typing, &visits)
		if err != nil || typing != 1 || visits != 1 {
			t.Errorf("%s has %d and %d (%v)", from, typing, visits, err)
		}
	}
}

// The function spans has a span that begins by the longest timeout exactly at from_time.
func TestSpansFromATimeout(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	typed := at("2026-10-01T10:00:00Z")
	store(t, pool, []presence.Event{{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: typed}})
	left := typed.Add(25*time.Second + 5*time.Minute)
	got := pgtest.Strings(t, pool, "SELECT status FROM analytics.spans($1, $2)", left, left.Add(time.Hour))
	if len(got) != 1 || got[0] != "UNAVAILABLE" {
		t.Errorf("the spans are %q", got)
	}
}

// TestConfirmedIsNoLongerThanTheSpan: while a span runs, an event of a clock that is ahead may lie inside it.
func TestConfirmedIsNoLongerThanTheSpan(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	now := presence.Now() // the views know no other
	for phone, events := range map[string][]presence.Event{
		"typing":   {{Status: presence.Composing, ReceivedAt: now.Add(-10 * time.Second)}, {Status: presence.Composing, ReceivedAt: now.Add(5 * time.Second)}},
		"visiting": {{Status: presence.Available, ReceivedAt: now.Add(-10 * time.Second)}, {Status: presence.Recording, ReceivedAt: now.Add(4 * time.Minute)}},
		"paused":   {{Status: presence.Composing, ReceivedAt: now.Add(-35 * time.Second)}, {Status: presence.Paused, ReceivedAt: now.Add(time.Minute)}},
	} {
		for i := range events {
			events[i].InstanceID, events[i].Phone = "i", phone
		}
		store(t, pool, events)
	}
	reader := history.NewReader(pool, func() time.Time { return now })
	in := history.Range{From: now.Add(-time.Hour), To: now.Add(time.Hour)}
	want := map[string]string{
		"typing":   "COMPOSING 10 10",
		"visiting": "AVAILABLE 250 250, RECORDING 0 0",
		"paused":   "COMPOSING 25 0, PAUSED 10 0",
	}
	for phone, want := range want {
		spans, err := reader.Timeline(t.Context(), "i", phone, in, in.From.Add(-time.Hour), 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range spans {
			got = append(got, fmt.Sprint(s.Status, s.Seconds, s.ConfirmedSeconds))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("the spans of %s are %s, want %s", phone, strings.Join(got, ", "), want)
		}
		d, err := reader.Durations(t.Context(), "i", phone, history.Calendar{Range: in, Bucket: history.NoBucket, Zone: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []presence.Durations{d.Total.Typing, d.Total.Recording, d.Total.InChat} {
			if d.ConfirmedSeconds > d.Seconds {
				t.Errorf("%s: %s", phone, show(d))
			}
		}
	}
	wrong := pgtest.Strings(t, pool, "SELECT phone FROM analytics.intervals WHERE confirmed_seconds > seconds")
	if len(wrong) > 0 {
		t.Errorf("more is confirmed of %s than there is", wrong)
	}
}

// TestHabits: of four weeks, a contact comes on two Mondays at nine, and on all Tuesdays across ten.
func TestHabits(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	monday := at("2026-03-02T00:00:00Z")
	var events []presence.Event
	add := func(status presence.Status, moment time.Time) {
		events = append(events, presence.Event{InstanceID: "i", Phone: "p", Status: status, ReceivedAt: moment})
	}
	for week := range 4 {
		start := monday.AddDate(0, 0, 7*week)
		if week%2 == 0 {
			add(presence.Available, start.Add(9*time.Hour+10*time.Minute))
			add(presence.Unavailable, start.Add(9*time.Hour+12*time.Minute))
		}
		add(presence.Available, start.Add(33*time.Hour+58*time.Minute))
		add(presence.Unavailable, start.Add(34*time.Hour+2*time.Minute))
	}
	store(t, pool, events)
	reader := history.NewReader(pool, func() time.Time { return monday.AddDate(0, 0, 40) })
	h, err := reader.Habits(t.Context(), "i", "p", history.Range{From: monday, To: monday.AddDate(0, 0, 28)}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	want := []presence.Habit{{Weekday: 2, Hour: 9, Share: 1}, {Weekday: 2, Hour: 10, Share: 1}, {Weekday: 1, Hour: 9, Share: 0.5}}
	if h.Weeks != 4 || !slices.Equal(h.Best, want) || len(h.Cells) != 168 || h.Cells[9] != want[2] || h.Cells[10].Share != 0 {
		t.Errorf("%d weeks, best %v, cells %v", h.Weeks, h.Best, h.Cells[8:11])
	}
}

// TestHabitsWhenClocksChange: a contact comes in every hour of some weeks in which hours are skipped, shortened or come twice,
// so the share of each hour that exists is 1.
func TestHabitsWhenClocksChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, from, to string
		missing        int // hours of the week that do not exist
		weeks          int
	}{
		{"Europe/Berlin", "2026-03-16T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 0, 2},
		{"Europe/Berlin", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 1, 1},
		{"Europe/Berlin", "2026-10-19T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 0, 1},
		{"Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-11-01T02:00:00+01:00", 0, 1},
		{"Antarctica/Casey", "2021-09-27T00:00:00+08:00", "2021-10-04T00:00:00+11:00", 2, 1},
		{"America/St_Johns", "2010-11-01T00:00:00-02:30", "2010-11-08T00:00:00-03:30", 0, 1},
		{"Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:15:00+01:00", 167, 1},
	} {
		t.Run(c.zone, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			pool := pgtest.New(t)
			in := history.Range{From: at(c.from), To: at(c.to)}
			var events []presence.Event
			for moment := in.From.Add(30 * time.Second); moment.Before(in.To); moment = moment.Add(time.Minute) {
				events = append(events, presence.Event{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: moment})
			}
			store(t, pool, events)
			reader := history.NewReader(pool, func() time.Time { return in.To })
			h, err := reader.Habits(t.Context(), "i", "p", in, zone)
			if err != nil {
				t.Fatal(err)
			}
			missing := 0
			for _, cell := range h.Cells {
				switch cell.Share {
				case 1:
				case 0:
					missing++
				default:
					t.Errorf("%+v", cell)
				}
			}
			if missing != c.missing || h.Weeks != c.weeks {
				t.Errorf("%d hours of %d weeks are missing, want %d of %d", missing, h.Weeks, c.missing, c.weeks)
			}
		})
	}
}
