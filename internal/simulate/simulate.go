// Package simulate makes up the presence traffic of a business's contacts, the same from the same seed: events of the
// past for an import, or events at a steady rate to POST to a receiver as Z-API would. Its proportions are those of
// 68 hours of real traffic. It simulates what contacts do, not what goes wrong on the way: no event is late, lost,
// repeated or out of order, and there are no messages and no gaps.
package simulate

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// Config says whose traffic is made up. Contacts are the same, with the same habits, whenever Seed and Instances are;
// more Contacts only add to them.
type Config struct {
	Seed      uint64
	Contacts  int            // 1 to MaxContacts, dealt out to the instances in turn
	Instances []string       // at least one; see InstanceIDs
	Location  *time.Location // where the contacts live: their habits go by its clock; nil is UTC
}

// MaxContacts is how many contacts have phones of their own.
const MaxContacts = 10_000_000

// visitsPerDay is how often the mean contact enters the chat by itself.
const visitsPerDay = 3

// perEvent is the least time that a contact must have for an event in the long run. At a faster pace than this, visits
// would follow each other without a rest and no longer look like anybody's habits.
const perEvent = time.Minute

// The random numbers of a seed are drawn in streams of their own, so that one use does not disturb another.
const (
	streamInstances = iota + 1
	streamContacts
	streamLive
	streamHistory // and on: it differs with the range's start
)

// InstanceIDs makes up n instance ids of Z-API's form, 32 upper-case hex digits.
func InstanceIDs(seed uint64, n int) []string {
	rng := rand.New(rand.NewPCG(seed, streamInstances))
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%016X%016X", rng.Uint64(), rng.Uint64())
	}
	return ids
}

// NaturalEvents is about how many events the contacts make in [from, to) if nobody asks for another number.
func (c Config) NaturalEvents(from, to time.Time) int {
	days := to.Sub(from).Hours() / 24
	return int(math.Ceil(float64(c.Contacts) * days * visitsPerDay * eventsPerVisit))
}

// History makes exactly n events in [from, to), spread over it by the contacts' habits, in order of ReceivedAt. No two
// events of a contact have the same ReceivedAt. The events may be ranged over more than once and are then the same.
// Memory does not grow with n. It is an error to ask for more than one event per contact and minute.
func (c Config) History(from, to time.Time, n int) (iter.Seq[presence.Event], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// The first whole microsecond that is not before from, and the same of to, keep everything in [from, to).
	start, end := ceilMicro(from), ceilMicro(to)
	switch most := math.Ceil(float64(c.Contacts) * to.Sub(from).Minutes() / perEvent.Minutes()); {
	case end <= start:
		return nil, fmt.Errorf("the range is empty: it ends at %s, which is not after %s", to, from)
	case n < 1:
		return nil, fmt.Errorf("the number of events is %d: it must be at least 1", n)
	case float64(n) > most:
		return nil, fmt.Errorf("%d events are too many for %d contacts in %s: they make at most one a minute each, %.0f in all;"+
			" take more contacts or a longer range", n, c.Contacts, to.Sub(from), most)
	}
	people := c.people()
	hours := people.calendar(start, end)
	return func(yield func(presence.Event) bool) {
		t := newTraffic(people, rand.NewPCG(c.Seed, streamHistory+uint64(start)))
		pos := position{at: start}
		for planned := 0; planned < n; {
			// As many visits as are still to come lie in the rest of the range: this is the first of them.
			visits := max(1, float64(n-planned)/eventsPerVisit)
			pos = hours.advance(pos, math.Pow(t.rng.Float64(), 1/visits))
			if !t.emitBefore(pos.at, yield) {
				return
			}
			k := t.plan(pos.at, hours[pos.slot].hour, end, n-planned)
			if k == 0 {
				break // every microsecond that is left is taken: cannot happen in ranges that people ask for
			}
			planned += k
		}
		t.emitBefore(end, yield)
	}, nil
}

// Live makes events from the moment from on without end, rate of them per second on average, in order of ReceivedAt: by
// day those of people who are up by day, by night those of the others. It is an error to ask for more than one event
// per contact and minute.
func (c Config) Live(from time.Time, rate float64) (iter.Seq[presence.Event], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !(rate > 0) {
		return nil, fmt.Errorf("the rate is %g events per second: it must be more than 0", rate)
	}
	if need := math.Ceil(rate * perEvent.Seconds()); need > float64(c.Contacts) {
		return nil, fmt.Errorf("%g events per second are too many for %d contacts: they make at most one a minute each;"+
			" take at least %.0f contacts", rate, c.Contacts, need)
	}
	people := c.people()
	return func(yield func(presence.Event) bool) {
		t := newTraffic(people, rand.NewPCG(c.Seed, streamLive))
		meanGap := eventsPerVisit / rate * 1e6
		for at := float64(ceilMicro(from)); ; {
			at += meanGap * t.rng.ExpFloat64()
			if !t.emitBefore(int64(at), yield) {
				return
			}
			t.plan(int64(at), people.hourOfWeek(int64(at)), math.MaxInt64, math.MaxInt)
		}
	}, nil
}

func (c Config) check() error {
	if c.Contacts < 1 || c.Contacts > MaxContacts {
		return fmt.Errorf("the number of contacts is %d: it must be 1 to %d", c.Contacts, MaxContacts)
	}
	if len(c.Instances) == 0 {
		return errors.New("there is no instance: at least one is needed")
	}
	for _, id := range c.Instances {
		if len(id) < 1 || len(id) > 128 || strings.ToValidUTF8(id, "") != id || strings.Contains(id, "\x00") {
			return fmt.Errorf("the instance %q is not 1 to 128 bytes of UTF-8 without NUL", id)
		}
	}
	return nil
}

func ceilMicro(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return us
}
