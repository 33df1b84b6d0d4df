package simulate

import (
	"math"
	"math/rand/v2"
	"regexp"
	"testing"
)

func TestPhonesAreDistinctAndUnassigned(t *testing.T) {
	t.Parallel()
	forms := map[string]*regexp.Regexp{
		"13 digits": regexp.MustCompile(`^55\d\d9[6-9]\d{7}$`),
		"12 digits": regexp.MustCompile(`^55\d\d[6-9]\d{7}$`),
		"lid":       regexp.MustCompile(`^\d{15}@lid$`),
		"group":     regexp.MustCompile(`^120363\d{12}-group$`),
	}
	const contacts = 50_000
	seen := make(map[string]bool)
	counts := make(map[string]int)
	instances := make(map[string]int)
	for _, c := range config(contacts).people().contacts {
		if seen[c.phone] {
			t.Fatalf("%s is there twice", c.phone)
		}
		seen[c.phone] = true
		instances[c.instance]++
		for name, form := range forms {
			if form.MatchString(c.phone) {
				counts[name]++
			}
		}
	}
	for seed := range uint64(1000) {
		step := newPhoneBook(rand.New(rand.NewPCG(seed, seed))).step
		if step%2 == 0 || step%5 == 0 {
			t.Fatalf("phones in steps of %d come round before all are given out", step)
		}
	}
	for name, share := range map[string]float64{"13 digits": 0.70, "12 digits": 0.25, "lid": 0.03, "group": 0.02} {
		if got := ratio(counts[name], contacts); math.Abs(got-share) > 0.01 {
			t.Errorf("%s: %.3f of all phones, want %.2f", name, got, share)
		}
	}
	for id, n := range instances {
		if !regexp.MustCompile(`^[0-9A-F]{32}$`).MatchString(id) || n != contacts/2 {
			t.Errorf("instance %s has %d contacts, want 32 hex digits and %d", id, n, contacts/2)
		}
	}
}

func TestCalendarStaysInItsRange(t *testing.T) {
	t.Parallel()
	start := monday.UnixMicro() + 1234567
	end := start + 3*microsPerDay + 7
	hours := config(100).people().calendar(start, end)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		from := hours.advance(position{at: start}, rng.Float64())
		for _, share := range []float64{1, 1 - 1e-16, 0.5, 1e-300, 0} {
			to := hours.advance(from, share)
			if to.at < from.at || to.at >= end || to.at >= hours[to.slot].end || to.slot < from.slot {
				t.Fatalf("from %+v by %g to %+v, in [%d, %d)", from, share, to, start, end)
			}
		}
	}
}

func TestVisitorIsFree(t *testing.T) {
	t.Parallel()
	const end = 100 * second
	for _, test := range []struct {
		name          string
		at, last, end int64
		want          int64 // when the only contact, whose last event was at last, returns
	}{
		{"long since", 50 * second, 10 * second, end, 50 * second},
		{"after a rest", 50 * second, 45 * second, end, 65 * second},
		{"without a rest, near the end", 95 * second, 90 * second, end, 95 * second},
		{"at once after the last event, near the end", 85 * second, 90 * second, end, 90*second + 1},
		{"not at all", 85 * second, end - 1, end, end},
	} {
		traffic := newTraffic(config(1).people(), rand.NewPCG(1, 1))
		traffic.free[0] = test.last + betweenStay
		if _, start := traffic.visitor(test.at, 0, test.end); start != test.want {
			t.Errorf("%s: comes at %d, want %d", test.name, start, test.want)
		}
	}
}
