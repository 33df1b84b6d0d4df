package simulate

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// The proportions of 68 hours of real traffic.
const (
	measuredStarts      = 176.0 // of typing or recording
	measuredPaused      = 71.0
	measuredAvailable   = 341.0 // one per visit
	measuredUnavailable = 36.0
)

// A visit begins with AVAILABLE. Phases of typing or recording may follow; most visits have none.
const (
	startsPerVisit = measuredStarts / measuredAvailable
	firstPhase     = 0.3                             // the share of visits with a phase
	nextPhase      = 1 - firstPhase/startsPerVisit   // the share of phases that another one follows
	pausedShare    = measuredPaused / measuredStarts // the share of phases whose end is reported
	leavingShare   = measuredUnavailable / measuredAvailable
	recordingShare = 0.15 // of phases
	lastSeenShare  = 0.3  // of UNAVAILABLE

	// eventsPerVisit follows from these and the durations below; a test checks it.
	eventsPerVisit = 2.533
)

// Durations in microseconds.
const (
	second      = 1e6
	renewal     = 10 * second  // COMPOSING and RECORDING repeat about this often
	renewalJit  = 2 * second   // either way
	forgotten   = 26 * second  // after this without a renewal a phase has timed out
	longest     = 600 * second // of a phase
	betweenStay = 20 * second  // a contact's rest between visits, at least
)

// traffic has the future events of visits that have begun.
type traffic struct {
	*people
	rng    *rand.Rand
	coming queue
	free   []int64 // when a contact may begin its next visit, Unix microseconds
	visit  []step  // the visit being planned
}

type step struct {
	after    int64 // microseconds since the visit's start
	status   presence.Status
	lastSeen bool
}

func newTraffic(p *people, source rand.Source) *traffic {
	t := &traffic{people: p, rng: rand.New(source), free: make([]int64, len(p.contacts))}
	for i := range t.free {
		t.free[i] = math.MinInt64
	}
	return t
}

// emitBefore yields the events before a time; it reports false if yield did.
func (t *traffic) emitBefore(at int64, yield func(presence.Event) bool) bool {
	for len(t.coming) > 0 && t.coming[0].at < at {
		next := heap.Pop(&t.coming).(pending)
		e := presence.Event{
			InstanceID: t.contacts[next.contact].instance,
			Phone:      t.contacts[next.contact].phone,
			Status:     next.status,
			ReceivedAt: time.UnixMicro(next.at).UTC(),
		}
		if next.lastSeen {
			e.LastSeen = new(e.ReceivedAt.Unix())
		}
		if !yield(e) {
			return false
		}
	}
	return true
}

// plan begins a visit of some contact at a time, or as soon as one is free, and returns its number of events: at most limit,
// all before end, and at least 1 unless no contact has a free microsecond before end.
func (t *traffic) plan(at int64, hour int, end int64, limit int) int {
	who, start := t.visitor(at, hour, end)
	if start >= end {
		return 0
	}
	t.drawVisit()
	n := 0
	last := start
	for _, s := range t.visit[:min(len(t.visit), limit)] {
		if s.after >= end-start { // start+s.after would overflow without an end
			break
		}
		last = start + s.after
		heap.Push(&t.coming, pending{at: last, contact: who, status: s.status, lastSeen: s.lastSeen})
		n++
	}
	t.free[who] = last + betweenStay
	return n
}

// visitor picks the next contact and its time. Most contacts are free at any time. If all drawn ones are busy, it picks the one
// that is free first.
func (t *traffic) visitor(at int64, hour int, end int64) (who int32, start int64) {
	start = math.MaxInt64
	for range 8 {
		c := t.draw(hour, t.rng)
		if t.free[c] <= at {
			return c, at
		}
		if t.free[c] < start {
			who, start = c, t.free[c]
		}
	}
	if start < end {
		return who, start
	}
	// Just before the end, all drawn contacts may have just left. Then the one that left first returns without a break.
	for c, free := range t.free {
		if free < start {
			who, start = int32(c), free
		}
	}
	if start < end {
		return who, max(start, at)
	}
	return who, max(at, start-betweenStay+1)
}

// drawVisit generates a visit. Its steps are at least a tenth of a second apart.
func (t *traffic) drawVisit() {
	t.visit = append(t.visit[:0], step{status: presence.Available})
	at := int64(0) // when the contact can do the next thing
	chance := firstPhase
	for t.rng.Float64() < chance {
		at = t.drawPhase(at + t.logNormal(6*second, 0.8))
		chance = nextPhase
	}
	if t.rng.Float64() < leavingShare {
		left := step{after: at + t.logNormal(15*second, 1), status: presence.Unavailable}
		left.lastSeen = t.rng.Float64() < lastSeenShare
		t.visit = append(t.visit, left)
	}
}

// drawPhase generates one phase of typing or recording and returns when another may begin.
func (t *traffic) drawPhase(at int64) int64 {
	status, median := presence.Composing, int64(12*second)
	if t.rng.Float64() < recordingShare {
		status, median = presence.Recording, 15*second
	}
	end := at + min(t.logNormal(median, 0.9), longest)
	last := at
	for ; at < end; at += renewal + t.rng.Int64N(2*renewalJit) - renewalJit {
		t.visit = append(t.visit, step{after: at, status: status})
		last = at
	}
	if t.rng.Float64() < pausedShare {
		end = max(end, last+second/10)
		t.visit = append(t.visit, step{after: end, status: presence.Paused})
		return end
	}
	return max(end, last+forgotten) // otherwise the next phase would look like this one
}

// logNormal draws a duration with this median, in microseconds; it is at least a tenth of a second.
func (t *traffic) logNormal(median int64, sigma float64) int64 {
	return max(second/10, int64(float64(median)*math.Exp(sigma*t.rng.NormFloat64())))
}
