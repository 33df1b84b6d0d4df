package history_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// compareStored compares the stored intervals, once all have ended, with the model row by row.
func (w *world) compareStored(t *testing.T) {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), `
		SELECT concat_ws(' ', c.phone, measure_name(i.measure), i.started_at, i.ended_at, i.confirmed_until, i.events, ended_by_name(i.ended_by))
		FROM stored_intervals AS i INNER JOIN contacts AS c ON c.id = i.contact_id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for phone := range w.phones() {
		for measure, list := range w.intervals(phone) {
			for _, s := range list {
				_, confirmed := s.confirmed()
				want = append(want, strings.Join([]string{phone, string(measure), psqlTime(s.start), psqlTime(s.end), psqlTime(confirmed),
					fmt.Sprint(s.events), string(s.endedBy)}, " "))
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("stored intervals: %d, want %d; the first that differ:\n%v\n%v", len(got), len(want),
					got[min(i, len(got)-1)], want[min(i, len(want)-1)])
			}
		}
	}
}

func psqlTime(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.999999") + "+00" }

// compare checks all queries that read intervals.
func (w *world) compare(t *testing.T) {
	t.Helper()
	reader := history.NewReader(w.pool, func() time.Time { return w.now })
	zone, err := time.LoadLocation([]string{"UTC", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"}[w.rng.IntN(4)])
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]map[presence.Measure][]modelSpan{}
	for phone := range w.phones() {
		of[phone] = w.intervals(phone)
	}
	all := func(m presence.Measure) (list []modelSpan) {
		for _, spans := range of {
			list = append(list, spans[m]...)
		}
		return list
	}
	w.compareContacts(t, reader, zone)
	for range 3 {
		in := w.randomRange()
		bucket := []history.Bucket{history.NoBucket, history.Hour, history.Day, history.Week}[w.rng.IntN(4)]
		d, err := reader.Durations(t.Context(), "i", "", history.Calendar{Range: in, Bucket: bucket, Zone: zone})
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
		heatmap, err := reader.Heatmap(t.Context(), "i", "", measure, in, zone)
		if err != nil {
			t.Fatal(err)
		}
		if want := modelHeat(all(measure), in, zone); !slices.EqualFunc(heatmap.Cells, want, sameHeat) {
			t.Fatalf("heat map of %s in %v, %s:\n%v, want\n%v", measure, in, zone, heatmap.Cells, want)
		}

		by, limit := []history.By{history.By(measure), history.ByVisits}[w.rng.IntN(2)], 1+w.rng.IntN(14)
		byCount := by == history.ByVisits
		if byCount {
			measure = presence.MeasureInChat
		}
		top, err := reader.Top(t.Context(), "i", by, in, limit)
		if err != nil {
			t.Fatal(err)
		}
		var want []presence.Rank
		for phone, spans := range of {
			d := modelDurations(spans[measure], in.From, in.To)
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
		if !slices.EqualFunc(top.Contacts, want, func(a, b presence.Rank) bool {
			return a.Phone == b.Phone && a.Count == b.Count && near(a.Seconds, b.Seconds) && near(a.ConfirmedSeconds, b.ConfirmedSeconds)
		}) {
			t.Fatalf("top %d of %s (by count: %t) in %v:\n%v, want\n%v", limit, measure, byCount, in, top.Contacts, want)
		}
	}
}

// compareContacts checks the queries of one contact, and what all contacts do now.
func (w *world) compareContacts(t *testing.T, reader *history.Reader, zone *time.Location) {
	t.Helper()
	list, err := reader.Contacts(t.Context(), history.ContactsQuery{InstanceID: "i", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	present, err := reader.Contacts(t.Context(), history.ContactsQuery{InstanceID: "i", Limit: 1000, Statuses: []presence.Status{
		presence.Available, presence.Composing, presence.Paused, presence.Recording,
	}})
	if err != nil {
		t.Fatal(err)
	}
	var want, wantPresent []presence.Contact
	for phone, events := range w.arrived {
		spans := modelSpans(events, w.timeouts, w.now)
		last := spans[len(spans)-1]
		k := presence.Contact{Phone: phone, Status: last.status, Since: last.start, Now: w.now}
		for i, e := range events {
			if i == 0 || e.ReceivedAt.Before(k.FirstEventAt) {
				k.FirstEventAt = e.ReceivedAt
			}
			if e.ReceivedAt.After(k.LastEventAt) {
				k.LastEventAt = e.ReceivedAt
			}
		}
		want = append(want, k)
		if k.Status != presence.Unavailable {
			wantPresent = append(wantPresent, k)
		}
		one, err := reader.Contact(t.Context(), "i", phone)
		if err != nil || one != k {
			t.Fatalf("contact: got %+v (%v), want %+v", one, err, k)
		}
	}
	byPhone := func(a, b presence.Contact) int { return strings.Compare(a.Phone, b.Phone) }
	slices.SortFunc(want, byPhone)
	slices.SortFunc(wantPresent, byPhone)
	if !slices.Equal(list, want) || !slices.Equal(present, wantPresent) {
		t.Fatalf("contacts now:\n%v\n%v, want\n%v\n%v", list, present, want, wantPresent)
	}
	var wantNow []history.NowContact
	counts := map[presence.Status]int{presence.Unavailable: 0}
	for _, k := range want {
		wantNow = append(wantNow, history.NowContact{InstanceID: "i", Phone: k.Phone, Status: k.Status, Since: k.Since, LastEventAt: k.LastEventAt})
		counts[k.Status]++
	}
	now, err := reader.Now(t.Context(), history.NowQuery{Sort: history.ByPhone, Limit: 1000})
	if err != nil || !slices.Equal(now.Contacts, wantNow) || !maps.Equal(now.Counts, counts) {
		t.Fatalf("now:\n%v %v (%v), want\n%v %v", now.Contacts, now.Counts, err, wantNow, counts)
	}
	if len(want) == 0 {
		return
	}
	instances, err := reader.Instances(t.Context(), nil, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	first := slices.MinFunc(want, func(a, b presence.Contact) int { return a.FirstEventAt.Compare(b.FirstEventAt) }).FirstEventAt
	last := slices.MaxFunc(want, func(a, b presence.Contact) int { return a.LastEventAt.Compare(b.LastEventAt) }).LastEventAt
	if len(instances) != 1 || instances[0] != (presence.Instance{InstanceID: "i", FirstEventAt: first, LastEventAt: last}) {
		t.Fatalf("instances: %v, want first event %s, last %s", instances, first, last)
	}

	phone := want[w.rng.IntN(len(want))].Phone
	spans, of, in := modelSpans(w.arrived[phone], w.timeouts, w.now), w.intervals(phone), w.randomRange()
	timeline, err := reader.Timeline(t.Context(), "i", phone, in, time.Time{}, 1+w.rng.IntN(1000))
	if err != nil {
		t.Fatal(err)
	}
	overlapping := slices.DeleteFunc(slices.Clone(spans), func(s modelSpan) bool {
		return !s.start.Before(in.To) || s.endedBy != presence.Open && !s.end.After(in.From)
	})
	for i, got := range timeline {
		if i >= len(overlapping) {
			t.Fatalf("timeline of %s in %v: %+v, want %+v", phone, in, timeline, overlapping)
		}
		want := overlapping[i]
		if got.Status != want.status || !got.Start.Equal(want.start) || got.Events != want.events || got.EndedBy != want.endedBy ||
			got.EndedBy != presence.Open && !got.End.Equal(want.end) || !near(got.ConfirmedSeconds, want.confirmedSeconds) {
			t.Fatalf("timeline of %s in %v: span %d is %+v, want %+v", phone, in, i, got, want)
		}
	}
	lanes, err := reader.Lanes(t.Context(), "i", phone, in, 10)
	if err != nil {
		t.Fatal(err)
	}
	wantLanes := 0
	for measure, spans := range of {
		for _, s := range spans {
			if !s.start.Before(in.To) || s.endedBy != presence.Open && !s.end.After(in.From) {
				continue
			}
			wantLanes++
			if !slices.ContainsFunc(lanes.Spans, func(got history.LaneSpan) bool {
				return got.Measure == measure && got.Start.Equal(s.start) && got.Events == s.events && got.EndedBy == s.endedBy &&
					(got.End == nil) == (s.endedBy == presence.Open) && (got.End == nil || got.End.Equal(s.end)) &&
					near(got.ConfirmedUntil.Sub(got.Start).Seconds(), s.confirmedSeconds)
			}) {
				t.Fatalf("lanes of %s in %v lack %s of %+v:\n%+v", phone, in, measure, s, lanes.Spans)
			}
		}
	}
	if len(lanes.Spans) != wantLanes {
		t.Fatalf("lanes of %s in %v: %+v, want %d", phone, in, lanes.Spans, wantLanes)
	}
	d, err := reader.Durations(t.Context(), "i", phone, history.Calendar{Range: in, Bucket: history.Day, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	other := want[w.rng.IntN(len(want))].Phone
	both, err := reader.Compare(t.Context(), "i", []string{phone, other}, in)
	if err != nil {
		t.Fatal(err)
	}
	for m, got := range map[presence.Measure][2]presence.Durations{
		presence.MeasureTyping:    {d.Total.Typing, both.Contacts[0].Typing},
		presence.MeasureRecording: {d.Total.Recording, both.Contacts[0].Recording},
		presence.MeasureInChat:    {d.Total.InChat, both.Contacts[0].InChat},
	} {
		if want := modelDurations(of[m], in.From, in.To); !sameDurations(got[0], want) || !sameDurations(got[1], want) {
			t.Fatalf("%s of %s in %v: got %s, compared %s, want %s", m, phone, in, show(got[0]), show(got[1]), show(want))
		}
	}
	heatmap, err := reader.Heatmap(t.Context(), "i", phone, presence.MeasureInChat, in, zone)
	if err != nil {
		t.Fatal(err)
	}
	if want := modelHeat(of[presence.MeasureInChat], in, zone); !slices.EqualFunc(heatmap.Cells, want, sameHeat) {
		t.Fatalf("heat map of %s in %v, %s:\n%v, want\n%v", phone, in, zone, heatmap.Cells, want)
	}
}

func (w *world) randomRange() history.Range {
	pick := func() time.Time {
		at := w.now.Add(-time.Duration(w.rng.Int64N(int64(80*time.Hour))) / 1000 * 1000)
		switch w.rng.IntN(5) {
		case 0:
			return at.Truncate(15 * time.Minute)
		case 1:
			return at.Truncate(24 * time.Hour)
		case 2:
			return w.now.Add(time.Duration(w.rng.Int64N(int64(time.Hour))) / 1000 * 1000)
		case 3: // within an interval, perhaps
			if events := w.arrived[fmt.Sprintf("5544%02d", w.rng.IntN(12))]; len(events) > 0 {
				return events[w.rng.IntN(len(events))].ReceivedAt.Add(time.Second)
			}
		}
		return at
	}
	for {
		in := history.Range{From: pick(), To: pick()}
		if w.rng.IntN(4) == 0 { // often within a quarter of an hour
			in.To = in.From.Add(time.Duration(1+w.rng.Int64N(int64(10*time.Minute))) / 1000 * 1000)
		}
		if in.From.Before(in.To) {
			return in
		}
	}
}

// modelHeat sums up second by second, or less where an interval begins or ends within one.
func modelHeat(spans []modelSpan, in history.Range, zone *time.Location) []presence.Heat {
	cells := make([]presence.Heat, 7*24)
	for i := range cells {
		cells[i].Weekday, cells[i].Hour = i/24+1, i%24
	}
	cell := func(at time.Time) *presence.Heat {
		at = at.In(zone)
		return &cells[(int(at.Weekday())+6)%7*24+at.Hour()]
	}
	for _, s := range spans {
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
