package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	hoursPerWeek = 7 * 24
	microsPerDay = 24 * 60 * 60 * 1e6

	// activitySpread is the sigma of the log-normal distribution of activity: the most active tenth of the contacts has
	// over half of all visits, and the median contact a third of the mean.
	activitySpread = 1.5
)

// habits have the activity in each hour from 0 to 23, as digits, on working days and at weekends, and the share of contacts
// with the habit.
var habits = [...]struct {
	name                  string
	share                 float64
	workingDays, weekends string
}{
	{"office hours", 0.35, "000000137998579987421110", "000000001222222221111100"},
	{"evening", 0.25, "100000112111232222479985", "210000011223333333468973"},
	{"all day", 0.20, "100001355556665555666543", "210000024566666665666543"},
	{"lunch break", 0.10, "000000342114984112432210", "000000012334433333222110"},
	{"weekend", 0.06, "000000010001100001121210", "310000136899778998888753"},
	{"night", 0.04, "986543100000112222234678", "998763211111122222345678"},
}

// people are the contacts, grouped by habit.
type people struct {
	location *time.Location
	contacts []contact
	groups   []group
}

type contact struct{ instance, phone string }

// group has the contacts of one habit, with cumulative activities: a contact's activity is the difference to the previous one.
type group struct {
	contacts   []int32
	cumulative []float64
	hours      [hoursPerWeek]float64 // the group's activity in each hour of the week, starting on Sunday 0:00
}

func (g *group) activity() float64 {
	if len(g.cumulative) == 0 {
		return 0
	}
	return g.cumulative[len(g.cumulative)-1]
}

func (c Config) people() *people {
	rng := rand.New(rand.NewPCG(c.Seed, streamContacts))
	p := &people{location: c.Location, contacts: make([]contact, c.Contacts), groups: make([]group, len(habits))}
	if p.location == nil {
		p.location = time.UTC
	}
	phones := newPhoneBook(rng)
	for i := range p.contacts {
		p.contacts[i] = contact{c.Instances[i%len(c.Instances)], phones.phone(i, rng)}
		k, x := 0, rng.Float64()
		for ; k < len(habits)-1 && x >= habits[k].share; k++ {
			x -= habits[k].share
		}
		g := &p.groups[k]
		g.contacts = append(g.contacts, int32(i))
		g.cumulative = append(g.cumulative, g.activity()+math.Exp(activitySpread*rng.NormFloat64()))
	}
	for k := range p.groups {
		p.groups[k].hours = hoursOfWeek(habits[k].workingDays, habits[k].weekends, p.groups[k].activity())
	}
	return p
}

// hoursOfWeek distributes activity over the hours of a week by a habit's digits. Every hour has some.
func hoursOfWeek(workingDays, weekends string, activity float64) (hours [hoursPerWeek]float64) {
	sum := 0.0
	for h := range hours {
		day := workingDays
		if weekday := time.Weekday(h / 24); weekday == time.Sunday || weekday == time.Saturday {
			day = weekends
		}
		hours[h] = float64(day[h%24]-'0') + 0.05
		sum += hours[h]
	}
	for h := range hours {
		hours[h] *= activity / sum
	}
	return hours
}

// hourOfWeek is the local hour of the week at a time in Unix microseconds.
func (p *people) hourOfWeek(at int64) int {
	t := time.UnixMicro(at).In(p.location)
	return int(t.Weekday())*24 + t.Hour()
}

// draw picks a contact by the activity in an hour of the week.
func (p *people) draw(hour int, rng *rand.Rand) int32 {
	sum := 0.0
	for k := range p.groups {
		sum += p.groups[k].hours[hour]
	}
	x := rng.Float64() * sum
	last := 0 // rounding may leave a little of x after the last group
	for k := range p.groups {
		if len(p.groups[k].contacts) == 0 {
			continue
		}
		last = k
		if x -= p.groups[k].hours[hour]; x < 0 {
			break
		}
	}
	g := &p.groups[last]
	i, _ := slices.BinarySearch(g.cumulative, rng.Float64()*g.activity())
	return g.contacts[min(i, len(g.contacts)-1)]
}

// phoneBook gives each contact a different phone. Its steps from base return to base only after all numbers are used.
type phoneBook struct{ base, step uint64 }

const subscribers = 40_000_000 // Brazil's mobile numbers begin with 6 to 9, after the ninth digit: 6000-0000 to 9999-9999

func newPhoneBook(rng *rand.Rand) phoneBook {
	// A step that ends in 1 has no common divisor with subscribers, since its prime factors are 2 and 5.
	return phoneBook{base: rng.Uint64N(subscribers), step: rng.Uint64N(subscribers/10)*10 + 1}
}

// noAreas are unassigned area codes of Brazil: nobody has these numbers.
var noAreas = [...]int{23, 25, 26, 29, 36, 39, 52, 56, 57, 58, 59, 72, 76, 78}

// phone returns the phone of contact i: most with nine digits, some without the ninth, a few in WhatsApp's other forms.
func (b phoneBook) phone(i int, rng *rand.Rand) string {
	number := subscribers*3/2 + (b.base+uint64(i)*b.step)%subscribers
	area := noAreas[rng.IntN(len(noAreas))]
	switch x := rng.Float64(); {
	case x < 0.70:
		return fmt.Sprintf("55%d9%08d", area, number)
	case x < 0.95:
		return fmt.Sprintf("55%d%08d", area, number)
	case x < 0.98:
		return fmt.Sprintf("1%06d%08d@lid", rng.IntN(1_000_000), number)
	default:
		return fmt.Sprintf("120363%04d%08d-group", rng.IntN(10_000), number)
	}
}
