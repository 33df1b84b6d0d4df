package history_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func store(t testing.TB, pool *pgxpool.Pool, events []presence.Event) {
	t.Helper()
	if _, err := ingest.NewStore(pool).Merge(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// TestSpansMatchModel compares the SQL with the model over a thousand random histories: repeats, ties, silences long
// and short, events at the very moment of running out, every status, instances with timeouts of their own.
func TestSpansMatchModel(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const contacts = 1000
	seed := pgtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	now := at("2026-03-10T12:00:00Z")
	timeouts := map[string]presence.Timeouts{
		"default": {Typing: 25 * time.Second, Recording: 25 * time.Second, Presence: 5 * time.Minute},
		"short":   {Typing: 3 * time.Second, Recording: 7 * time.Second, Presence: 10 * time.Second},
		"long":    {Typing: 20 * time.Minute, Recording: time.Minute, Presence: 2 * time.Minute},
	}
	instances := []string{"default", "short", "long"}
	histories := make([][]presence.Event, contacts)
	var batch []presence.Event
	for i := range histories {
		instance := instances[i%len(instances)]
		h := randomHistory(rng, instance, fmt.Sprintf("55449%05d", i), timeouts[instance], now)
		if i%5 == 0 { // the order of arrival need not be the order of time: what comes late finds its place
			rng.Shuffle(len(h), func(a, b int) { h[a], h[b] = h[b], h[a] })
		}
		histories[i] = h
		if batch = append(batch, h...); len(batch) > 4000 || i == contacts-1 {
			store(t, pool, batch)
			batch = nil
		}
	}
	for _, name := range []string{"short", "long"} {
		for setting, value := range map[string]time.Duration{
			"typing_timeout": timeouts[name].Typing, "recording_timeout": timeouts[name].Recording,
			"presence_timeout": timeouts[name].Presence,
		} {
			if err := settings.Set(t.Context(), pool, name, setting, value.String()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(seed, uint64(worker+1)))
			reader := history.NewReader(pool, func() time.Time { return now })
			for i := worker; i < contacts && !t.Failed(); i += 4 {
				compare(t, rng, reader, histories[i], timeouts[instances[i%len(instances)]], now)
			}
		}()
	}
	wg.Wait()
}

func randomHistory(rng *rand.Rand, instance, phone string, t presence.Timeouts, now time.Time) []presence.Event {
	steps := []time.Duration{
		0, 0, time.Microsecond, time.Second, t.Typing, t.Recording, t.Presence, t.Typing + t.Presence,
		t.Typing + time.Microsecond, t.Presence - time.Microsecond, t.Recording + t.Presence + time.Microsecond,
		time.Hour, 45 * 24 * time.Hour,
	}
	n := 1 + rng.IntN(25)
	events := make([]presence.Event, n)
	moment := now.Add(-time.Duration(rng.Int64N(int64(90 * 24 * time.Hour)))).Truncate(time.Microsecond)
	favourite := presence.Statuses()[rng.IntN(5)]
	for i := range events {
		status := presence.Statuses()[rng.IntN(5)]
		if rng.IntN(3) == 0 {
			status = favourite
		}
		events[i] = presence.Event{InstanceID: instance, Phone: phone, Status: status, ReceivedAt: moment}
		step := steps[rng.IntN(len(steps))]
		if rng.IntN(3) == 0 {
			step = time.Duration(rng.Int64N(int64(2*t.Presence))) / 1000 * 1000
		}
		if moment = moment.Add(step); moment.After(now) {
			moment = now
		}
	}
	// Some end so that the last status runs out at this very moment.
	if rng.IntN(3) == 0 {
		last := events[n-1].ReceivedAt
		shift := now.Sub(last) - steps[rng.IntN(len(steps)-2)]
		for i := range events {
			events[i].ReceivedAt = events[i].ReceivedAt.Add(shift)
		}
	}
	return events
}

func compare(
	t *testing.T, rng *rand.Rand, reader *history.Reader, events []presence.Event, timeouts presence.Timeouts, now time.Time,
) {
	ctx := context.Background()
	instance, phone := events[0].InstanceID, events[0].Phone
	spans := modelSpans(events, timeouts, now)
	visits := modelVisits(spans)
	in := randomRange(rng, events, now)

	var want []modelSpan
	for _, s := range spans {
		if s.start.Before(in.To) && (s.end.After(in.From) || s.endedBy == presence.Open) {
			want = append(want, s)
		}
	}
	got, err := reader.Timeline(ctx, instance, phone, in, time.Time{}, 1000)
	if err != nil {
		t.Error(err)
		return
	}
	if diff := diffSpans(got, want); diff != "" {
		t.Errorf("timeline of %s %s in %v: %s\nevents:\n%s", instance, phone, in, diff, list(events))
		return
	}

	var paged []presence.Span
	rest, startsFrom := in, time.Time{}
	for limit := 1 + rng.IntN(4); ; {
		page, err := reader.Timeline(ctx, instance, phone, rest, startsFrom, limit+1)
		if err != nil {
			t.Error(err)
			return
		}
		if len(page) <= limit {
			paged = append(paged, page...)
			break
		}
		paged = append(paged, page[:limit]...)
		rest.From, startsFrom = page[limit].Start, page[limit].Start
	}
	if diff := diffSpans(paged, want); diff != "" {
		t.Errorf("timeline of %s %s in %v, in pages: %s\nevents:\n%s", instance, phone, in, diff, list(events))
		return
	}

	contact, err := reader.Contact(ctx, instance, phone)
	if last := spans[len(spans)-1]; err != nil || contact.Status != last.status || !contact.Since.Equal(last.start) {
		t.Errorf("contact of %s %s: %+v, %v, want %s since %s\nevents:\n%s", instance, phone, contact, err, last.status, last.start, list(events))
		return
	}

	over := history.Calendar{Range: in, Bucket: history.Hour, Zone: time.UTC}
	if in.To.Sub(in.From) > history.MaxBuckets*time.Hour/2 {
		over.Bucket = history.Week
	}
	d, err := reader.Durations(ctx, instance, phone, over)
	if err != nil {
		t.Error(err)
		return
	}
	check := func(what string, got presence.Summary, from, to time.Time) {
		for _, m := range []struct {
			name string
			got  presence.Durations
			of   []modelSpan
		}{
			{"typing", got.Typing, only(spans, presence.Composing)},
			{"recording", got.Recording, only(spans, presence.Recording)},
			{"inChat", got.InChat, visits},
		} {
			if want := modelDurations(m.of, from, to); !sameDurations(m.got, want) {
				t.Errorf("%s of %s %s in %s – %s, %s: got %s, want %s\nevents:\n%s",
					m.name, instance, phone, from, to, what, show(m.got), show(want), list(events))
			}
		}
	}
	check("total", d.Total, in.From, in.To)
	for i, b := range d.Buckets {
		check(fmt.Sprintf("bucket %d", i), b.Summary, b.Start, b.End)
	}
}

// randomRange picks ranges that begin and end at, just before and just after events, as well as anywhere.
func randomRange(rng *rand.Rand, events []presence.Event, now time.Time) history.Range {
	pick := func() time.Time {
		e := events[rng.IntN(len(events))].ReceivedAt
		switch rng.IntN(5) {
		case 0:
			return e
		case 1:
			return e.Add(time.Microsecond)
		case 2:
			return e.Add(-time.Microsecond)
		case 3:
			return e.Add(time.Duration(rng.Int64N(int64(20*time.Minute))) / 1000 * 1000)
		default:
			return now.Add(-time.Duration(rng.Int64N(int64(100*24*time.Hour))) / 1000 * 1000)
		}
	}
	for {
		in := history.Range{From: pick(), To: pick()}
		if rng.IntN(4) == 0 {
			in.To = now
		}
		if in.From.Before(in.To) {
			return in
		}
	}
}

func only(spans []modelSpan, status presence.Status) []modelSpan {
	var some []modelSpan
	for _, s := range spans {
		if s.status == status {
			some = append(some, s)
		}
	}
	return some
}

func diffSpans(got []presence.Span, want []modelSpan) string {
	if len(got) != len(want) {
		return fmt.Sprintf("got %d spans %+v, want %d %+v", len(got), got, len(want), want)
	}
	for i, g := range got {
		w := want[i]
		open := w.endedBy == presence.Open
		if g.Status != w.status || !g.Start.Equal(w.start) || g.EndedBy != w.endedBy || g.Events != w.events ||
			(g.End == nil) != open || !open && !g.End.Equal(w.end) ||
			g.Seconds != w.seconds() || g.ConfirmedSeconds != w.confirmedSeconds {
			return fmt.Sprintf("span %d: got %+v, want %+v", i, g, w)
		}
	}
	return ""
}

func sameDurations(a, b presence.Durations) bool {
	near := func(x, y *float64) bool {
		return (x == nil) == (y == nil) && (x == nil || math.Abs(*x-*y) < 1e-6)
	}
	return a.Count == b.Count && near(&a.Seconds, &b.Seconds) && near(&a.ConfirmedSeconds, &b.ConfirmedSeconds) &&
		near(a.MeanSeconds, b.MeanSeconds) && near(a.MedianSeconds, b.MedianSeconds) &&
		near(a.P90Seconds, b.P90Seconds) && near(a.MaxSeconds, b.MaxSeconds)
}

func show(d presence.Durations) string {
	s := fmt.Sprintf("{count %d, seconds %f, confirmed %f", d.Count, d.Seconds, d.ConfirmedSeconds)
	if d.Count > 0 {
		s += fmt.Sprintf(", mean %f, median %f, p90 %f, max %f", *d.MeanSeconds, *d.MedianSeconds, *d.P90Seconds, *d.MaxSeconds)
	}
	return s + "}"
}

func list(events []presence.Event) (s string) {
	for _, e := range events {
		s += fmt.Sprintf("  %s %s\n", e.ReceivedAt.Format(time.RFC3339Nano), e.Status)
	}
	return s
}
