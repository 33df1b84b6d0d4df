package history_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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
)

// world is some contacts of one instance, what was sent of them so far, and what follows from it by the model.
type world struct {
	pool     *pgxpool.Pool
	rng      *rand.Rand
	timeouts presence.Timeouts
	arrived  map[string][]presence.Event // by phone, in the order of arrival
	coming   []presence.Event
	seq      int16 // of the next event
	now      time.Time

	// What retention left of the time before the horizon, by phone.
	horizon time.Time
	kept    map[string]map[presence.Measure][]modelSpan
}

// phones returns the contacts that have events or intervals.
func (w *world) phones() map[string]bool {
	phones := map[string]bool{}
	for phone := range w.arrived {
		phones[phone] = true
	}
	for phone := range w.kept {
		phones[phone] = true
	}
	return phones
}

// intervals returns a contact's intervals.
func (w *world) intervals(phone string) map[presence.Measure][]modelSpan {
	spans := modelSpans(w.arrived[phone], w.timeouts, w.now)
	return map[presence.Measure][]modelSpan{
		presence.MeasureTyping:    slices.Concat(w.kept[phone][presence.MeasureTyping], only(spans, presence.Composing)),
		presence.MeasureRecording: slices.Concat(w.kept[phone][presence.MeasureRecording], only(spans, presence.Recording)),
		presence.MeasureInChat:    slices.Concat(w.kept[phone][presence.MeasureInChat], modelVisits(spans)),
	}
}

// arrive tells the model what is stored now.
func (w *world) arrive(events []presence.Event) {
	for _, e := range events {
		w.arrived[e.Phone] = append(w.arrived[e.Phone], e)
	}
}

// TestQueriesMatchModel lets histories arrive in any order and through the spool, while intervals are refreshed, timeouts change,
// time passes, retention deletes and processes are killed, and compares all queries that read intervals with the model.
func TestQueriesMatchModel(t *testing.T) {
	t.Parallel()
	first := pgtest.Seed(t)
	for n := range uint64(6) {
		seed := first + n
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				pool: pgtest.New(t), rng: rand.New(rand.NewPCG(seed, 0)), arrived: map[string][]presence.Event{},
				timeouts: presence.Timeouts{Typing: 25 * time.Second, Recording: 25 * time.Second, Presence: 5 * time.Minute},
				now:      at("2026-03-10T12:00:00Z"), kept: map[string]map[presence.Measure][]modelSpan{},
			}
			for i := range 12 {
				w.coming = append(w.coming, w.history(fmt.Sprintf("5544%02d", i))...)
			}
			w.rng.Shuffle(len(w.coming), func(a, b int) { w.coming[a], w.coming[b] = w.coming[b], w.coming[a] })
			type moment struct {
				phone string
				at    time.Time
			}
			of := map[moment]int{}
			for _, e := range w.coming {
				of[moment{e.Phone, e.ReceivedAt}]++
			}
			// The order of such events is that of their Seq, which a Writer assigns from 1 on.
			shared := func(e presence.Event) bool { return of[moment{e.Phone, e.ReceivedAt}] > 1 }
			for len(w.coming) > 0 && !t.Failed() {
				n := 1
				if w.rng.IntN(3) > 0 {
					n = min(1+w.rng.IntN(40), len(w.coming))
				}
				some := w.coming[:n]
				w.coming = w.coming[n:]
				if w.rng.IntN(8) == 0 {
					w.outage(t, slices.DeleteFunc(slices.Clone(some), shared))
					some = slices.DeleteFunc(some, func(e presence.Event) bool { return !shared(e) })
				}
				w.receive(t, some)
				for range w.rng.IntN(3) {
					w.happen(t)
				}
				if w.rng.IntN(8) == 0 {
					w.retain(t)
				}
				if w.rng.IntN(20) == 0 {
					w.kill(t)
				}
				if w.rng.IntN(3) == 0 {
					w.compare(t)
				}
			}
			w.retain(t)
			w.kill(t)
			w.compare(t)
			w.refresh(t, w.now)
			w.compare(t)
			w.now = w.now.Add(48 * time.Hour) // so that all has ended
			w.refresh(t, w.now)
			w.compare(t)
			w.compareStored(t)
			if err := rebuild(t.Context(), w.pool, nil); err != nil {
				t.Fatal(err)
			}
			w.compare(t)
			w.compareStored(t)
		})
	}
}

// history generates what one contact does in the days before now: now and then something for a while.
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
	for range w.rng.IntN(3) { // of what has not ended
		moment = w.now.Add(-time.Duration(w.rng.Int64N(int64(time.Minute))) / 1000 * 1000)
		events = append(events, presence.Event{InstanceID: "i", Phone: phone, Status: presence.Statuses()[w.rng.IntN(5)], ReceivedAt: moment})
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
		events[i].Seq = w.seq
		w.seq++
	}
	w.arrive(events)
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

// happen lets something happen to the intervals, or time pass.
func (w *world) happen(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var err error
	// A moment of the past, perhaps that of an event that is still to come.
	until := w.now.Add(-time.Duration(w.rng.Int64N(int64(72*time.Hour))) / 1000 * 1000)
	if w.rng.IntN(2) == 0 && len(w.coming) > 0 {
		until = w.coming[w.rng.IntN(len(w.coming))].ReceivedAt
	}
	switch w.rng.IntN(7) {
	case 0:
		w.refresh(t, w.now)
	case 1:
		w.refresh(t, until)
	case 2: // a refresh that has not got further than this
		_, err = w.pool.Exec(ctx, "UPDATE interval_progress SET cutoff = greatest(cutoff, $1)", until)
	case 5:
		_, err = w.pool.Exec(ctx, "SELECT refresh_intervals($1) FROM interval_progress WHERE watermark < $1 AND cutoff >= $1", until)
	case 6:
		_, err = w.pool.Exec(ctx, "SELECT refresh_late_intervals(least($1, watermark)) FROM interval_progress", until)
	case 3:
		w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(10*time.Minute))) / 1000 * 1000)
	case 4:
		if w.rng.IntN(4) == 0 {
			w.timeouts.Presence = []time.Duration{10 * time.Second, 5 * time.Minute, 40 * time.Minute, 24 * time.Hour}[w.rng.IntN(4)]
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
	if err != nil {
		return err
	}
	rows, err := w.pool.Query(ctx, "SELECT id FROM instances")
	if err != nil {
		return err
	}
	changed, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	return rebuild(ctx, w.pool, changed)
}

// refresh does what serve does at a moment.
func (w *world) refresh(t *testing.T, moment time.Time) {
	t.Helper()
	if err := refresh(t.Context(), w.pool, moment); err != nil {
		t.Fatal(err)
	}
}

// An event at the very moment of running out wins, also where that moment is the watermark.
func TestEventAtWatermarkIsLate(t *testing.T) {
	t.Parallel()
	pool, now := pgtest.New(t), at("2026-03-10T12:00:00Z").Add(intervals.Lag)
	write := func(moment string) {
		t.Helper()
		e := presence.Event{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: at(moment)}
		if err := ingest.NewStore(pool).Write(t.Context(), []presence.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	typing := func() presence.Durations {
		t.Helper()
		if err := intervals.Refresh(t.Context(), pool, func() time.Time { return now }, 0); err != nil {
			t.Fatal(err)
		}
		d, err := history.NewReader(pool, func() time.Time { return now }).Durations(t.Context(), "i", "",
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
	if d := typing(); d.Count != 1 || d.Seconds != (25*time.Second+intervals.Lag).Seconds() {
		t.Errorf("renewed at the end: %s", show(d))
	}
}

// A reader whose clock is behind that of the refresh does not count twice what has ended between the two.
func TestClockBehindTheWatermark(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	start := at("2026-03-10T12:00:00Z")
	store(t, pool, []presence.Event{{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: start}})
	w := &world{pool: pool}
	w.refresh(t, start.Add(time.Minute))
	now := start.Add(10 * time.Second)
	reader := history.NewReader(pool, func() time.Time { return now })
	over := history.Calendar{Range: history.Range{From: start.Add(-time.Hour), To: now}, Bucket: history.NoBucket, Zone: time.UTC}
	for _, phone := range []string{"p", ""} {
		sums, err := reader.Durations(t.Context(), "i", phone, over)
		if err != nil {
			t.Fatal(err)
		}
		if got := sums.Total; got.Typing.Count != 1 || got.Typing.Seconds != 10 || got.InChat.Count != 1 || got.InChat.Seconds != 10 {
			t.Errorf("of phone %q: typing %+v, in chat %+v", phone, got.Typing, got.InChat)
		}
	}
	top, err := reader.Top(t.Context(), "i", history.By(presence.MeasureTyping), over.Range, 10)
	if err != nil || len(top.Contacts) != 1 || top.Contacts[0].Seconds != 10 {
		t.Errorf("top is %+v (%v)", top.Contacts, err)
	}
}

// A visit that starts in the last month of the events, and ends in the next one, which has no partition yet.
func TestHeatmapAfterTheLastMonth(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	store(t, pool, []presence.Event{{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: at("2030-01-31T23:58:00Z")}})
	now := at("2030-02-02T00:00:00Z")
	heatmap, err := history.NewReader(pool, func() time.Time { return now }).Heatmap(t.Context(), "i", "", presence.MeasureInChat,
		history.Range{From: at("2030-01-31T00:00:00Z"), To: now}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	var seconds float64
	for _, cell := range heatmap.Cells {
		seconds += cell.Seconds
	}
	if seconds != 300 {
		t.Errorf("it shows %g s of a visit of 300 s", seconds)
	}
}
