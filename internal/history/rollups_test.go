package history_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/rollup"
)

// world is some contacts of one instance, what was sent of them so far, and what follows from it by the model.
type world struct {
	pool     *pgxpool.Pool
	rng      *rand.Rand
	timeouts presence.Timeouts
	arrived  map[string][]presence.Event // by phone, in the order of arrival
	coming   []presence.Event
	now      time.Time
}

// TestRollupsDoNotChangeAnswers lets histories arrive in any order while they are being rolled up, timeouts change and time
// goes on, and compares what all contacts of an instance did with the model.
func TestRollupsDoNotChangeAnswers(t *testing.T) {
	t.Parallel()
	for range 12 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				pool: pgtest.New(t), rng: rand.New(rand.NewPCG(seed, 0)), arrived: map[string][]presence.Event{},
				timeouts: presence.Timeouts{Typing: 25 * time.Second, Recording: 25 * time.Second, Presence: 5 * time.Minute},
				now:      at("2026-03-10T12:00:00Z"),
			}
			for i := range 12 {
				w.coming = append(w.coming, w.history(fmt.Sprintf("5544%02d", i))...)
			}
			w.rng.Shuffle(len(w.coming), func(a, b int) { w.coming[a], w.coming[b] = w.coming[b], w.coming[a] })
			for len(w.coming) > 0 && !t.Failed() {
				n := 1
				if w.rng.IntN(3) > 0 {
					n = min(1+w.rng.IntN(40), len(w.coming))
				}
				some := w.coming[:n]
				w.coming = w.coming[n:]
				w.receive(t, some)
				for range w.rng.IntN(3) {
					w.happen(t)
				}
				if w.rng.IntN(3) == 0 {
					w.compare(t)
				}
			}
			w.compare(t)
			if err := rollup.Run(t.Context(), w.pool, func() time.Time { return w.now }, 0); err != nil {
				t.Fatal(err)
			}
			w.compare(t)
			w.now = w.now.Add(48 * time.Hour) // so that all has ended
			if err := rollup.Rebuild(t.Context(), w.pool, func() time.Time { return w.now }, func(_, _ time.Duration) {}); err != nil {
				t.Fatal(err)
			}
			w.compare(t)
		})
	}
}

// history makes up what one contact does in the days before now: now and then something for a while.
func (w *world) history(phone string) (events []presence.Event) {
	moment := w.now.Add(-time.Duration(w.rng.Int64N(int64(72 * time.Hour)))).Truncate(time.Microsecond)
	for range 5 + w.rng.IntN(40) {
		events = append(events, presence.Event{
			InstanceID: "i", Phone: phone, Status: presence.Statuses()[w.rng.IntN(5)], ReceivedAt: moment,
		})
		if w.rng.IntN(5) == 0 { // what begins now runs out at the end of a slot, unless there comes something at that moment
			end := moment.Truncate(15 * time.Minute).Add(15 * time.Minute)
			running := []presence.Status{presence.Composing, presence.Recording}[w.rng.IntN(2)]
			events = append(events,
				presence.Event{InstanceID: "i", Phone: phone, Status: running, ReceivedAt: end.Add(-25 * time.Second)},
				presence.Event{InstanceID: "i", Phone: phone, Status: running, ReceivedAt: end})
			moment = end
		}
		step := []time.Duration{
			0, time.Microsecond, 25 * time.Second, 5 * time.Minute, 15 * time.Minute, 325 * time.Second,
			moment.Truncate(15 * time.Minute).Add(15 * time.Minute).Sub(moment), // to the end of the slot
		}[w.rng.IntN(7)]
		switch w.rng.IntN(4) {
		case 0:
			step = time.Duration(w.rng.Int64N(int64(10*time.Minute))) / 1000 * 1000
		case 1:
			step = time.Duration(w.rng.Int64N(int64(6*time.Hour))) / 1000 * 1000
		}
		if moment = moment.Add(step); moment.After(w.now.Add(-15 * time.Minute)) {
			break
		}
	}
	return events
}

// receive stores events in one of the ways there are.
func (w *world) receive(t *testing.T, events []presence.Event) {
	t.Helper()
	isStored := func(e presence.Event) bool { // as an import sees it
		return slices.ContainsFunc(w.arrived[e.Phone], func(a presence.Event) bool {
			return a.ReceivedAt.Equal(e.ReceivedAt) && a.Status == e.Status
		})
	}
	imported := w.rng.IntN(3) == 0 && !slices.ContainsFunc(events, isStored)
	for i := range events {
		events[i].Seq = int16(len(w.arrived[events[i].Phone])) // its place in the order of arrival
		w.arrived[events[i].Phone] = append(w.arrived[events[i].Phone], events[i])
	}
	if imported {
		n, err := ingest.NewStore(w.pool).Merge(t.Context(), slices.Clone(events))
		if n != int64(len(events)) || err != nil {
			t.Fatal(n, err)
		}
	} else if err := ingest.NewStore(w.pool).Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if w.rng.IntN(4) == 0 { // a second try and an import of what is there
		if !imported {
			if err := ingest.NewStore(w.pool).Write(t.Context(), events); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := ingest.NewStore(w.pool).Merge(t.Context(), slices.Clone(events)); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
}

// happen lets something happen to the rollups.
func (w *world) happen(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var err error
	switch w.rng.IntN(6) {
	case 0:
		err = rollup.Run(ctx, w.pool, func() time.Time { return w.now }, 0)
	case 1: // not all that could be, perhaps up to an event that is still to come
		until := w.now.Add(-time.Duration(w.rng.Int64N(int64(72 * time.Hour))))
		if w.rng.IntN(2) == 0 && len(w.coming) > 0 {
			until = w.coming[w.rng.IntN(len(w.coming))].ReceivedAt
		}
		_, err = w.pool.Exec(ctx, "SELECT advance_rollups($1)", until)
	case 2:
		_, err = rollup.Step(ctx, w.pool, w.now, time.Duration(1+w.rng.IntN(200))*15*time.Minute)
	case 3:
		w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(10*time.Minute))) / 1000 * 1000)
	case 4:
		if w.rng.IntN(4) == 0 {
			w.timeouts.Presence = []time.Duration{10 * time.Second, 5 * time.Minute, 40 * time.Minute}[w.rng.IntN(3)]
			w.timeouts.Typing = []time.Duration{3 * time.Second, 25 * time.Second, 20 * time.Minute}[w.rng.IntN(3)]
			err = w.setTimeouts(ctx)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) setTimeouts(ctx context.Context) error {
	_, err := w.pool.Exec(ctx, "UPDATE settings SET typing_timeout = $1, presence_timeout = $2", w.timeouts.Typing, w.timeouts.Presence)
	if err == nil {
		_, err = w.pool.Exec(ctx, "SELECT mark_all_stale(NULL)")
	}
	return err
}

// compare asks all that is answered from rollups.
func (w *world) compare(t *testing.T) {
	t.Helper()
	reader := history.NewReader(w.pool, func() time.Time { return w.now })
	zone, err := time.LoadLocation([]string{"UTC", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"}[w.rng.IntN(4)])
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]map[presence.Measure][]modelSpan{}
	for phone, events := range w.arrived {
		spans := modelSpans(events, w.timeouts, w.now)
		of[phone] = map[presence.Measure][]modelSpan{
			presence.MeasureTyping:    only(spans, presence.Composing),
			presence.MeasureRecording: only(spans, presence.Recording),
			presence.MeasureInChat:    modelVisits(spans),
		}
	}
	all := func(m presence.Measure) (list []modelSpan) {
		for _, stretches := range of {
			list = append(list, stretches[m]...)
		}
		return list
	}
	for range 3 {
		in := w.randomRange()
		bucket := []history.Bucket{history.NoBucket, history.Hour, history.Day, history.Week}[w.rng.IntN(4)]
		d, err := reader.InstanceDurations(t.Context(), "i", history.Calendar{Range: in, Bucket: bucket, Zone: zone})
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, got presence.Summary, from, to time.Time) {
			for m, got := range map[presence.Measure]presence.Durations{
				presence.MeasureTyping: got.Typing, presence.MeasureRecording: got.Recording, presence.MeasureInChat: got.InChat,
			} {
				if want := modelDurations(all(m), from, to); !sameDurations(got, want) {
					t.Fatalf("%s of all in %s – %s, %s: got %s, want %s", m, from, to, what, show(got), show(want))
				}
			}
		}
		check("total", d.Total, in.From, in.To)
		for i, b := range d.Buckets {
			check(fmt.Sprintf("bucket %d", i), b.Summary, b.Start, b.End)
		}

		measure := []presence.Measure{presence.MeasureTyping, presence.MeasureRecording, presence.MeasureInChat}[w.rng.IntN(3)]
		heat, err := reader.Heatmap(t.Context(), "i", measure, in, zone)
		if err != nil {
			t.Fatal(err)
		}
		if want := modelHeat(all(measure), in, zone); !slices.EqualFunc(heat, want, sameHeat) {
			t.Fatalf("heat map of %s in %v, %s:\n%v, want\n%v", measure, in, zone, heat, want)
		}

		byCount, limit := w.rng.IntN(2) == 0, 1+w.rng.IntN(14)
		ranks, err := reader.Top(t.Context(), "i", measure, byCount, in, limit)
		if err != nil {
			t.Fatal(err)
		}
		var want []presence.Rank
		for phone, stretches := range of {
			d := modelDurations(stretches[measure], in.From, in.To)
			if byCount && d.Count > 0 || !byCount && d.Seconds > 0 {
				want = append(want, presence.Rank{Phone: phone, Count: d.Count, Seconds: d.Seconds, ConfirmedSeconds: d.ConfirmedSeconds})
			}
		}
		slices.SortFunc(want, func(a, b presence.Rank) int {
			if byCount {
				return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Phone, b.Phone))
			}
			return cmp.Or(cmp.Compare(wholeMicros(b.Seconds), wholeMicros(a.Seconds)), strings.Compare(a.Phone, b.Phone))
		})
		want = want[:min(limit, len(want))]
		if !slices.EqualFunc(ranks, want, func(a, b presence.Rank) bool {
			return a.Phone == b.Phone && a.Count == b.Count && near(a.Seconds, b.Seconds) && near(a.ConfirmedSeconds, b.ConfirmedSeconds)
		}) {
			t.Fatalf("top %d of %s (by count: %t) in %v:\n%v, want\n%v", limit, measure, byCount, in, ranks, want)
		}
	}
}

func (w *world) randomRange() history.Range {
	pick := func() time.Time {
		at := w.now.Add(-time.Duration(w.rng.Int64N(int64(80*time.Hour))) / 1000 * 1000)
		switch w.rng.IntN(4) {
		case 0:
			return at.Truncate(15 * time.Minute)
		case 1:
			return at.Truncate(24 * time.Hour)
		case 2:
			return w.now.Add(time.Duration(w.rng.Int64N(int64(time.Hour))) / 1000 * 1000)
		}
		return at
	}
	for {
		if in := (history.Range{From: pick(), To: pick()}); in.From.Before(in.To) {
			return in
		}
	}
}

// modelHeat sums up second by second, or less where a stretch begins or ends within one.
func modelHeat(stretches []modelSpan, in history.Range, zone *time.Location) []presence.Heat {
	cells := make([]presence.Heat, 7*24)
	for i := range cells {
		cells[i].Weekday, cells[i].Hour = i/24+1, i%24
	}
	cell := func(at time.Time) *presence.Heat {
		at = at.In(zone)
		return &cells[(int(at.Weekday())+6)%7*24+at.Hour()]
	}
	for _, s := range stretches {
		if !s.start.Before(in.From) && s.start.Before(in.To) {
			cell(s.start).Count++
		}
		confirmedFrom, confirmedUntil := s.confirmed()
		for from := s.start; from.Before(s.end); {
			to := from.Truncate(time.Minute).Add(time.Minute)
			c := cell(from)
			c.Seconds += overlap(s.start, s.end, maxTime(from, in.From), minTime(to, in.To))
			c.ConfirmedSeconds += overlap(confirmedFrom, confirmedUntil, maxTime(from, in.From), minTime(to, in.To))
			from = to
		}
	}
	return cells
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func wholeMicros(seconds float64) int64 { return int64(math.Round(seconds * 1e6)) }

func near(a, b float64) bool { return wholeMicros(a) == wholeMicros(b) }

func sameHeat(a, b presence.Heat) bool {
	return a.Weekday == b.Weekday && a.Hour == b.Hour && a.Count == b.Count && near(a.Seconds, b.Seconds) &&
		near(a.ConfirmedSeconds, b.ConfirmedSeconds)
}

// An event at the very moment of running out wins, also where that moment is the end of what is rolled up.
func TestAnEventAtTheEndOfTheRollupsIsLate(t *testing.T) {
	t.Parallel()
	pool, now := pgtest.New(t), at("2026-03-10T12:10:00Z")
	write := func(moment string) {
		t.Helper()
		e := presence.Event{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: at(moment)}
		if err := ingest.NewStore(pool).Write(t.Context(), []presence.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	typing := func() presence.Durations {
		t.Helper()
		if err := rollup.Run(t.Context(), pool, func() time.Time { return now }, 0); err != nil {
			t.Fatal(err)
		}
		d, err := history.NewReader(pool, func() time.Time { return now }).InstanceDurations(t.Context(), "i",
			history.Calendar{Range: history.Range{From: at("2026-03-10T11:00:00Z"), To: now}, Bucket: history.NoBucket, Zone: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		return d.Total.Typing
	}
	write("2026-03-10T11:59:35Z")
	if d := typing(); d.Count != 1 || d.Seconds != 25 {
		t.Errorf("until nothing else comes: %s", show(d))
	}
	write("2026-03-10T12:00:00Z")
	if d := typing(); d.Count != 1 || d.Seconds != 50 {
		t.Errorf("renewed at the end: %s", show(d))
	}
}
