package terminal

import (
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

var (
	weekFrom = at("2026-11-16 00:00:00")
	weekTo   = at("2026-11-23 00:00:00").UTC() // drawn in weekFrom's zone
)

func fewContacts() []presence.ContactSummary {
	return []presence.ContactSummary{
		{Phone: "5544999999999", Summary: presence.Summary{Typing: intervals(12, 35), Recording: intervals(2, 41.5), InChat: intervals(20, 640)}},
		{Phone: "123@lid"},
		{Phone: "5511988887777", Summary: presence.Summary{Typing: intervals(3, 20), InChat: intervals(4, 300)}},
	}
}

func fewRanks() []presence.Rank {
	return []presence.Rank{
		{Phone: "5544999999999", Count: 1234, Seconds: 14_400, ConfirmedSeconds: 7000},
		{Phone: "123@lid", Count: 1300, Seconds: 7200, ConfirmedSeconds: 7200},
		{Phone: "5511988887777", Count: 1, Seconds: 0.4},
	}
}

// hotWeek has more in the evening and on Saturday, and a moment on Sunday.
func hotWeek() []presence.Heat {
	cells := make([]presence.Heat, 7*24)
	for i := range cells {
		day, hour := i/24, i%24
		cells[i] = presence.Heat{Weekday: 1 + day, Hour: hour}
		if hour >= 8 && day < 6 {
			cells[i].Count = int64(hour - 7)
			cells[i].Seconds = float64((hour-7)*(hour-7)) * 16
			if day == 5 {
				cells[i].Seconds *= 2
			}
			cells[i].ConfirmedSeconds = cells[i].Seconds / 2
		}
	}
	cells[6*24+3].Seconds = 0.5
	return cells
}

func TestComparisonTopAndHeatmap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		width  int
		colour bool
		draw   func(Screen) string
	}{
		{"comparison_100", 100, false, comparisonOf(fewContacts())},
		{"comparison_100_colour", 100, true, comparisonOf(fewContacts())},
		{"comparison_80", 80, false, comparisonOf(fewContacts())},
		{"top_80", 80, false, topOf(fewRanks(), false)},
		{"top_visits_80", 80, false, topOf([]presence.Rank{fewRanks()[1], fewRanks()[0], fewRanks()[2]}, true)},
		{"top_80_colour", 80, true, topOf(fewRanks(), false)},
		{"top_nobody_80", 80, false, topOf(nil, false)},
		{"heatmap_50", 50, false, heatmapOf(hotWeek())},
		{"heatmap_80", 80, false, heatmapOf(hotWeek())},
		{"heatmap_100", 100, false, heatmapOf(hotWeek())},
		{"heatmap_80_colour", 80, true, heatmapOf(hotWeek())},
		{"heatmap_nothing_80", 80, false, heatmapOf(make([]presence.Heat, 7*24))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			width := test.width
			if test.colour {
				width = 0
			}
			golden(t, test.name+".txt", test.draw(Screen{test.width, test.colour}), width)
		})
	}
}

func comparisonOf(contacts []presence.ContactSummary) func(Screen) string {
	return func(s Screen) string { return s.Comparison(contacts, weekFrom, weekTo) }
}

func topOf(ranks []presence.Rank, byCount bool) func(Screen) string {
	return func(s Screen) string { return s.Top(ranks, byCount, weekFrom, weekTo) }
}

func heatmapOf(cells []presence.Heat) func(Screen) string {
	return func(s Screen) string { return s.Heatmap(cells, weekFrom, weekTo) }
}

func TestShades(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		seconds, most float64
		want          int
	}{{0, 0, 0}, {0, 100, 0}, {0.001, 100, 1}, {25, 100, 1}, {25.1, 100, 2}, {50, 100, 2}, {75, 100, 3}, {75.1, 100, 4}, {100, 100, 4}, {time.Hour.Seconds(), time.Hour.Seconds(), 4}} {
		if got := shadeOf(test.seconds, test.most); got != test.want {
			t.Errorf("%g of %g s has the shade %d, want %d", test.seconds, test.most, got, test.want)
		}
	}
}
