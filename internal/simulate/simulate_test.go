package simulate

import (
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
)

var (
	saoPaulo = mustLoad("America/Sao_Paulo")
	monday   = time.Date(2026, 11, 16, 0, 0, 0, 0, saoPaulo)
)

func mustLoad(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

func config(contacts int) Config {
	return Config{Seed: 7, Contacts: contacts, Instances: InstanceIDs(7, 2), Location: saoPaulo}
}

func history(t *testing.T, c Config, from, to time.Time, n int) iter.Seq[presence.Event] {
	t.Helper()
	events, err := c.History(from, to, n)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

type key struct{ instance, phone string }

// proportions counts what the measured proportions are about. A start is a COMPOSING or RECORDING that does not renew the
// contact's status, as a receiver with the default timeouts would see it.
type proportions struct {
	events, starts, paused, available, unavailable int
	last                                           map[key]presence.Event
}

func (y *proportions) add(e presence.Event) {
	if y.last == nil {
		y.last = make(map[key]presence.Event)
	}
	k := key{e.InstanceID, e.Phone}
	prev := y.last[k]
	y.last[k] = e
	y.events++
	switch e.Status {
	case presence.Composing, presence.Recording:
		if prev.Status != e.Status || e.ReceivedAt.Sub(prev.ReceivedAt) > 25*time.Second {
			y.starts++
		}
	case presence.Paused:
		y.paused++
	case presence.Available:
		y.available++
	case presence.Unavailable:
		y.unavailable++
	}
}

func (y *proportions) check(t *testing.T) {
	t.Helper()
	for _, r := range []struct {
		what      string
		got, want float64
	}{
		{"PAUSED per start", ratio(y.paused, y.starts), 71.0 / 176},
		{"starts per AVAILABLE", ratio(y.starts, y.available), 176.0 / 341},
		{"UNAVAILABLE per AVAILABLE", ratio(y.unavailable, y.available), 36.0 / 341},
		{"UNAVAILABLE per PAUSED", ratio(y.unavailable, y.paused), 36.0 / 71},
		{"events per visit", ratio(y.events, y.available), eventsPerVisit},
	} {
		if math.Abs(r.got/r.want-1) > 0.02 {
			t.Errorf("%s: %.4f, want %.4f within 2 %%", r.what, r.got, r.want)
		}
	}
}

func ratio(a, b int) float64 { return float64(a) / float64(b) }

func TestHistoryHasTheMeasuredProportions(t *testing.T) {
	t.Parallel()
	var y proportions
	for e := range history(t, config(2000), monday, monday.AddDate(0, 0, 28), 400_000) {
		y.add(e)
	}
	y.check(t)
}

func TestHistoryIsExactOrderedAndInRange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		contacts, n int
		length      time.Duration
	}{
		{"usual", 500, 50_000, 14 * 24 * time.Hour},
		{"one event", 10, 1, time.Hour},
		{"one contact", 1, 1440, 24 * time.Hour},
		{"as dense as it gets", 100, 100 * 1440, 24 * time.Hour},
		{"as dense as it gets in ten minutes", 1000, 10_000, 10 * time.Minute},
		{"rare", 100_000, 1000, 365 * 24 * time.Hour},
		{"a microsecond", 5, 1, time.Microsecond},
		{"a second", 60, 1, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from := monday.Add(17*time.Minute + 300*time.Nanosecond)
			to := from.Add(test.length)
			var prev time.Time
			last := make(map[key]time.Time)
			n := 0
			for e := range history(t, config(test.contacts), from, to, test.n) {
				n++
				at := e.ReceivedAt
				if at.Before(from) || !at.Before(to) || at.Before(prev) || at.Nanosecond()%1000 != 0 || at.Location() != time.UTC {
					t.Fatalf("event %d is at %v, after %v, in [%v, %v)", n, at, prev, from, to)
				}
				k := key{e.InstanceID, e.Phone}
				if !at.After(last[k]) {
					t.Fatalf("%v has two events at %v", k, at)
				}
				if e.LastSeen != nil && e.Status != presence.Unavailable {
					t.Fatalf("%v has a lastSeen", e)
				}
				prev, last[k] = at, at
			}
			if n != test.n {
				t.Errorf("%d events, want %d", n, test.n)
			}
		})
	}
}

func TestHistoryFollowsHabits(t *testing.T) {
	t.Parallel()
	var hours [24]int
	days := make(map[time.Weekday]int)
	perContact := make(map[key]int)
	const contacts, n = 3000, 300_000
	weeks := 4
	for e := range history(t, config(contacts), monday, monday.AddDate(0, 0, 7*weeks), n) {
		local := e.ReceivedAt.In(saoPaulo)
		hours[local.Hour()]++
		days[local.Weekday()]++
		perContact[key{e.InstanceID, e.Phone}]++
	}
	if hours[10] < 5*hours[3] {
		t.Errorf("%d events at 10, %d at 3 local time: want the day to be busier than the night", hours[10], hours[3])
	}
	if days[time.Tuesday] < days[time.Sunday]*5/4 {
		t.Errorf("%d events on Tuesdays, %d on Sundays: want working days to be busier", days[time.Tuesday], days[time.Sunday])
	}
	counts := make([]int, 0, contacts)
	for _, c := range perContact {
		counts = append(counts, c)
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	top := 0
	for _, c := range counts[:contacts/10] {
		top += c
	}
	if share := ratio(top, n); share < 0.5 || share > 0.7 {
		t.Errorf("the most active tenth makes %.2f of all events, want 0.5 to 0.7", share)
	}
	if len(counts) < contacts*9/10 {
		t.Errorf("only %d of %d contacts were there at all", len(counts), contacts)
	}
}

func TestHistoryCoversRange(t *testing.T) {
	t.Parallel()
	var weeks [4]int
	var lastMinute int
	to := monday.AddDate(0, 0, 28)
	for e := range history(t, config(2000), monday, to, 800_000) {
		weeks[int(e.ReceivedAt.Sub(monday)/(7*24*time.Hour))]++
		if to.Sub(e.ReceivedAt) < time.Minute {
			lastMinute++
		}
	}
	for i, n := range weeks {
		if math.Abs(ratio(n, 200_000)-1) > 0.02 {
			t.Errorf("week %d has %d of 800000 events, want a quarter", i, n)
		}
	}
	if lastMinute > 100 {
		t.Errorf("%d events in the last minute: the rest was thrown in there", lastMinute)
	}
}

func TestSameSeedSameTraffic(t *testing.T) {
	t.Parallel()
	to := monday.AddDate(0, 0, 2)
	make1000 := func(c Config) []string {
		var lines []string
		for e := range history(t, c, monday, to, 1000) {
			lines = append(lines, string(gateway.AppendRecord(nil, e)))
		}
		return lines
	}
	c := config(300)
	events := history(t, c, monday, to, 1000)
	for range events {
		break // stopping early must not disturb the next round
	}
	first := make1000(c)
	var again []string
	for e := range events {
		again = append(again, string(gateway.AppendRecord(nil, e)))
	}
	if !slices.Equal(first, again) {
		t.Error("two rounds differ")
	}
	other := c
	other.Seed++
	if slices.Equal(first, make1000(other)) {
		t.Error("another seed makes the same events")
	}
	fewer, more := config(100).people(), config(300).people()
	if !slices.Equal(fewer.contacts, more.contacts[:100]) {
		t.Error("more contacts change those who were there")
	}
}

func TestLiveKeepsItsRate(t *testing.T) {
	t.Parallel()
	const rate, n = 50, 300_000
	events, err := config(5000).Live(monday, rate)
	if err != nil {
		t.Fatal(err)
	}
	var y proportions
	var prev time.Time
	for e := range events {
		if e.ReceivedAt.Before(prev) {
			t.Fatalf("%v after %v", e.ReceivedAt, prev)
		}
		prev = e.ReceivedAt
		if y.add(e); y.events == n {
			break
		}
	}
	y.check(t)
	if got := n / prev.Sub(monday).Seconds(); math.Abs(got/rate-1) > 0.02 {
		t.Errorf("%.2f events per second, want %d within 2 %%", got, rate)
	}
}

func TestNaturalEvents(t *testing.T) {
	t.Parallel()
	c := config(1000)
	if n := c.NaturalEvents(monday, monday.AddDate(0, 0, 30)); n < 200_000 || n > 300_000 {
		t.Errorf("%d events of 1000 contacts in 30 days, want about 8 a day each", n)
	}
	for _, length := range []time.Duration{time.Microsecond, time.Minute, 24 * time.Hour} {
		if _, err := c.History(monday, monday.Add(length), c.NaturalEvents(monday, monday.Add(length))); err != nil {
			t.Error(err)
		}
	}
}

func TestBadConfigs(t *testing.T) {
	t.Parallel()
	hour := monday.Add(time.Hour)
	try := func(want string, c Config, from, to time.Time, n int) {
		t.Helper()
		if _, err := c.History(from, to, n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
	try("number of contacts", config(0), monday, hour, 1)
	try("number of contacts", config(MaxContacts+1), monday, hour, 1)
	try("no instance", Config{Contacts: 1}, monday, hour, 1)
	try("range is empty", config(1), hour, monday, 1)
	try("range is empty", config(1), monday, monday, 1)
	try("at least 1", config(1), monday, hour, 0)
	try("too many for 10 contacts in 1h0m0s: each makes at most one a minute, 600 in all", config(10), monday, hour, 601)
	if _, err := config(10).Live(monday, 1); err == nil || !strings.Contains(err.Error(), "at least 60 contacts") {
		t.Errorf("error %v, want one that tells how many contacts are needed", err)
	}
	for _, rate := range []float64{0, -1, math.NaN()} {
		if _, err := config(10).Live(monday, rate); err == nil {
			t.Errorf("no error for a rate of %g", rate)
		}
	}
}
