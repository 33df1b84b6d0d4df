package history_test

import (
	"sort"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// The rules from events to spans once more, in plain Go and another way than the SQL does it: as a machine that is
// walked from moment to moment.

type modelSpan struct {
	status           presence.Status
	start, end       time.Time // end is now for an open span
	endedBy          presence.EndedBy
	events           int64
	first, last      time.Time // the first and last event inside
	confirmedSeconds float64
}

func (s modelSpan) seconds() float64 { return seconds(s.end.Sub(s.start)) }

func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

// modelSpans gives the spans that follow from one contact's events, which are in the order of their arrival.
func modelSpans(events []presence.Event, t presence.Timeouts, now time.Time) []modelSpan {
	events = append([]presence.Event(nil), events...)
	sort.SliceStable(events, func(i, j int) bool { return events[i].ReceivedAt.Before(events[j].ReceivedAt) })
	var spans []modelSpan
	set := func(status presence.Status, at time.Time, by presence.EndedBy) {
		if n := len(spans); n > 0 {
			if spans[n-1].status == status {
				return
			}
			spans[n-1].end, spans[n-1].endedBy = at, by
		}
		spans = append(spans, modelSpan{status: status, start: at})
	}
	// runOut lets time pass from the last event to a moment, at which an event wins over running out.
	var at time.Time
	runOut := func(until time.Time, inclusive bool) {
		for {
			status := spans[len(spans)-1].status
			var lasts time.Duration
			var becomes presence.Status
			switch status {
			case presence.Composing:
				lasts, becomes = t.Typing, presence.Paused
			case presence.Recording:
				lasts, becomes = t.Recording, presence.Paused
			case presence.Available, presence.Paused:
				lasts, becomes = t.Presence, presence.Unavailable
			default:
				return
			}
			moment := at.Add(lasts)
			if moment.After(until) || moment.Equal(until) && !inclusive {
				return
			}
			at = moment
			set(becomes, at, presence.ByTimeout)
		}
	}
	for i, e := range events {
		if i+1 < len(events) && events[i+1].ReceivedAt.Equal(e.ReceivedAt) {
			continue
		}
		if len(spans) > 0 {
			runOut(e.ReceivedAt, false)
		}
		set(e.Status, e.ReceivedAt, presence.ByEvent)
		span := &spans[len(spans)-1]
		if span.events == 0 {
			span.first = e.ReceivedAt
		}
		span.events++
		span.last, at = e.ReceivedAt, e.ReceivedAt
	}
	if len(spans) > 0 {
		runOut(now, true)
		last := &spans[len(spans)-1]
		last.endedBy, last.end = presence.Open, now
	}
	for i := range spans {
		spans[i].confirm()
	}
	return spans
}

// confirmed gives the part that events confirm, which may be empty.
func (s modelSpan) confirmed() (from, until time.Time) {
	if s.events == 0 {
		return s.start, s.start
	}
	if s.endedBy == presence.ByEvent {
		return s.first, s.end
	}
	return s.first, s.last
}

func (s *modelSpan) confirm() {
	from, until := s.confirmed()
	s.confirmedSeconds = seconds(until.Sub(from))
}

// modelVisits joins adjoining spans that are not UNAVAILABLE.
func modelVisits(spans []modelSpan) []modelSpan {
	var visits []modelSpan
	inside := false
	for _, s := range spans {
		if s.status == presence.Unavailable {
			inside = false
			continue
		}
		if !inside {
			visits = append(visits, modelSpan{start: s.start, first: s.first})
			inside = true
		}
		v := &visits[len(visits)-1]
		v.end, v.endedBy, v.events = s.end, s.endedBy, v.events+s.events
		if s.events > 0 {
			v.last = s.last
		}
	}
	for i := range visits {
		visits[i].confirm()
	}
	return visits
}

// modelDurations sums up intervals within [from, to).
func modelDurations(intervals []modelSpan, from, to time.Time) presence.Durations {
	var d presence.Durations
	var lengths []float64
	for _, s := range intervals {
		confirmedFrom, confirmedUntil := s.confirmed()
		d.Seconds += overlap(s.start, s.end, from, to)
		d.ConfirmedSeconds += overlap(confirmedFrom, confirmedUntil, from, to)
		if !s.start.Before(from) && s.start.Before(to) {
			lengths = append(lengths, s.seconds())
		}
	}
	if d.Count = int64(len(lengths)); d.Count == 0 {
		return d
	}
	sort.Float64s(lengths)
	var sum float64
	for _, l := range lengths {
		sum += l
	}
	mean, median, p90 := sum/float64(len(lengths)), percentile(lengths, 0.5), percentile(lengths, 0.9)
	d.MeanSeconds, d.MedianSeconds, d.P90Seconds, d.MaxSeconds = &mean, &median, &p90, &lengths[len(lengths)-1]
	return d
}

func overlap(start, end, from, to time.Time) float64 {
	if start.Before(from) {
		start = from
	}
	if end.After(to) {
		end = to
	}
	return max(0, seconds(end.Sub(start)))
}

func percentile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}
