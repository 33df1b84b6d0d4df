// Package simulate generates synthetic presence traffic of a business's contacts: events of the past for an import, or events
// at a steady rate to POST to a receiver as Z-API does. The same seed generates the same traffic. Its proportions are those of
// 68 hours of real traffic. It does not simulate faults: no event is late, lost, repeated or out of order.
package simulate

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// Config describes the contacts. The same Seed and Instances generate the same contacts and habits; more Contacts add others.
type Config struct {
	Seed      uint64
	Contacts  int            // 1 to MaxContacts, assigned to the instances in turn
	Instances []string       // at least one; see InstanceIDs
	Location  *time.Location // time zone of the contacts and their habits; nil: UTC
}

// MaxContacts is the number of different phones.
const MaxContacts = 10_000_000

// visitsPerDay is the mean number of visits of a contact.
const visitsPerDay = 3

// perEvent is the minimum mean time between two events of a contact. At a higher rate, visits would follow each other without a
// break.
const perEvent = time.Minute

// Each use has its own stream of random numbers, so that one does not affect another.
const (
	streamInstances = iota + 1
	streamContacts
	streamLive
	streamHistory // this and later numbers, depending on the range's start
)

// InstanceIDs returns n instance ids in Z-API's form, 32 upper-case hex digits.
func InstanceIDs(seed uint64, n int) []string {
	rng := rand.New(rand.NewPCG(seed, streamInstances))
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%016X%016X", rng.Uint64(), rng.Uint64())
	}
	return ids
}

// NaturalEvents is the approximate number of events in [from, to) if contacts follow their habits.
func (c Config) NaturalEvents(from, to time.Time) int {
	days := to.Sub(from).Hours() / 24
	return int(math.Ceil(float64(c.Contacts) * days * visitsPerDay * eventsPerVisit))
}

// History generates exactly n events in [from, to), distributed by the contacts' habits, in order of ReceivedAt. No two
// events of a contact have the same ReceivedAt. Ranging over the events again gives the same ones. Memory does not grow with
// n. More than one event per contact and minute is an error.
func (c Config) History(from, to time.Time, n int) (iter.Seq[presence.Event], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// Rounding both up to whole microseconds keeps all events in [from, to).
	start, end := ceilMicro(from), ceilMicro(to)
	switch most := math.Ceil(float64(c.Contacts) * to.Sub(from).Minutes() / perEvent.Minutes()); {
	case end <= start:
		return nil, fmt.Errorf("the range is empty: it ends at %s, which is not after %s", to, from)
	case n < 1:
		return nil, fmt.Errorf("the number of events is %d: it must be at least 1", n)
	case float64(n) > most:
		return nil, fmt.Errorf("%d events are too many for %d contacts in %s: each makes at most one a minute, %.0f in all;"+
			" take more contacts or a longer range", n, c.Contacts, to.Sub(from), most)
	}
	people := c.people()
	hours := people.calendar(start, end)
	return func(yield func(presence.Event) bool) {
		t := newTraffic(people, rand.NewPCG(c.Seed, streamHistory+uint64(start)))
		pos := position{at: start}
		for planned := 0; planned < n; {
			// This is the first of the remaining visits, which are in the rest of the range.
			visits := max(1, float64(n-planned)/eventsPerVisit)
			pos = hours.advance(pos, math.Pow(t.rng.Float64(), 1/visits))
			if !t.emitBefore(pos.at, yield) {
				return
			}
			k := t.plan(pos.at, hours[pos.slot].hour, end, n-planned)
			if k == 0 {
				break // no microsecond is free: does not happen in realistic ranges
			}
			planned += k
		}
		t.emitBefore(end, yield)
	}, nil
}

// Live generates an unlimited number of events, starting at from, on average rate per second, in order of ReceivedAt. They are
// of contacts that are active at that time of day. More than one event per contact and minute is an error.
func (c Config) Live(from time.Time, rate float64) (iter.Seq[presence.Event], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !(rate > 0) {
		return nil, fmt.Errorf("the rate is %g events per second: it must be more than 0", rate)
	}
	if need := math.Ceil(rate * perEvent.Seconds()); need > float64(c.Contacts) {
		return nil, fmt.Errorf("%g events per second are too many for %d contacts: each makes at most one a minute;"+
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
	return nil
}

func ceilMicro(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }
