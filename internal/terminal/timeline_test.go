package terminal

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

var update = flag.Bool("update", false, "rewrite the golden files; review them afterwards")

// golden compares a drawing with testdata/name, and its lines with the width if that is more than 0.
func golden(t *testing.T, name, got string, width int) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); width > 0 && n > width {
			t.Errorf("%s: a line of %d columns where %d are: %q", name, n, width, line)
		}
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		spans    []presence.Span
		from, to string
		now      string
		width    int
		colour   bool
	}{
		{"day_80", day(), "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 80, false},
		{"day_120", day(), "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 120, false},
		{"day_80_colour", day(), "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 80, true},
		{"day_72", day(), "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 72, false},
		{"day_odd_start_120", day(), "2026-11-21 10:23:45", "2026-11-22 10:23:45", "2026-11-22 10:00:00", 120, false},
		{"hour_80", day()[:15], "2026-11-21 15:00:00", "2026-11-21 16:00:00", "2026-11-22 10:00:00", 80, false},
		{"minutes_80", day()[1:8], "2026-11-21 15:01:40", "2026-11-21 15:07:10", "2026-11-22 10:00:00", 80, false},
		{"minute_80", day()[1:8], "2026-11-21 15:01:45", "2026-11-21 15:02:45", "2026-11-22 10:00:00", 80, false},
		{"month_80", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 80, false},
		{"month_120", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 120, false},
		{"month_120_colour", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 120, true},
		{"two_months_100", month(), "2026-10-10 00:00:00", "2026-12-24 00:00:00", "2026-11-22 10:09:40", 100, false},
		{"nothing_80", nil, "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 80, false},
		{"month_40", month(), "2026-11-01 00:00:00", "2026-11-06 00:00:00", "2026-11-22 10:09:40", 10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := Screen{test.width, test.colour}.Timeline(test.spans, at(test.from), at(test.to), at(test.now))
			width := test.width
			if test.colour || width < 80 {
				width = 0 // colours take no columns, and the list of spans is wider
			}
			golden(t, "timeline_"+test.name+".txt", got, width)
		})
	}
}

// A day of 25 hours and one of 23 still have the cells of all others. In Santiago, midnight is skipped.
func TestTimelineOverAChangeOfClocks(t *testing.T) {
	t.Parallel()
	berlin, newYork, santiago := mustLoad("Europe/Berlin"), mustLoad("America/New_York"), mustLoad("America/Santiago")
	for _, test := range []struct {
		name     string
		from, to time.Time
	}{
		{"back_day", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), time.Date(2026, 10, 26, 0, 0, 0, 0, berlin)},
		{"back", time.Date(2026, 10, 24, 0, 0, 0, 0, berlin), time.Date(2026, 10, 27, 0, 0, 0, 0, berlin)},
		{"forward", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), time.Date(2026, 3, 31, 0, 0, 0, 0, berlin)},
		{"forward_west", time.Date(2026, 3, 7, 1, 0, 0, 0, newYork), time.Date(2026, 3, 10, 0, 0, 0, 0, newYork)},
		{"no_midnight", time.Date(2026, 9, 5, 1, 0, 0, 0, santiago), time.Date(2026, 9, 7, 3, 0, 0, 0, santiago)},
		{"to_no_midnight", time.Date(2026, 9, 3, 0, 0, 0, 0, santiago), time.Date(2026, 9, 6, 1, 0, 0, 0, santiago)},
	} {
		// In the chat in every second hour of time.
		var spans []presence.Span
		for start := test.from; start.Before(test.to); start = start.Add(2 * time.Hour) {
			end := start.Add(time.Hour)
			spans = append(spans, presence.Span{Status: presence.Available, Start: start, End: &end, Seconds: 3600, EndedBy: presence.ByTimeout})
		}
		golden(t, "timeline_clocks_"+test.name+".txt", Screen{Width: 80}.Timeline(spans, test.from, test.to, test.to), 80)
	}
}

func TestPlainTimeline(t *testing.T) {
	t.Parallel()
	spans := month()
	spans = spans[len(spans)-6:]
	for i := range spans {
		spans[i].Start = spans[i].Start.UTC()
		if end := spans[i].End; end != nil {
			*end = end.UTC()
		}
	}
	spans[0].Seconds, spans[0].Start = 12.345678, spans[0].Start.Add(123456*time.Microsecond)
	golden(t, "timeline_plain.tsv", Plain(spans), 0)
}
