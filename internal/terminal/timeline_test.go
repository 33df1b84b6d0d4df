package terminal

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

var update = flag.Bool("update", false, "write the golden files anew; then look at them")

var saoPaulo = mustLoad("America/Sao_Paulo")

func mustLoad(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

// golden compares what is drawn with testdata/name, and its lines with the width if that is more than 0.
func golden(t *testing.T, name string, got []byte, width int) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
	for line := range strings.Lines(string(got)) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); width > 0 && n > width {
			t.Errorf("%s: a line of %d columns where %d are: %q", name, n, width, line)
		}
	}
}

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, saoPaulo)
	if err != nil {
		panic(err)
	}
	return t
}

// history builds spans that follow one another.
type history struct {
	at    time.Time
	spans []presence.Span
}

func (h *history) add(s presence.Status, length time.Duration, confirmed time.Duration, events int64, by presence.EndedBy) {
	end := h.at.Add(length)
	h.spans = append(h.spans, presence.Span{
		Status: s, Start: h.at, End: &end, Seconds: length.Seconds(), ConfirmedSeconds: confirmed.Seconds(), Events: events, EndedBy: by,
	})
	h.at = end
}

// visit goes away until start, then into the chat, types and maybe records.
func (h *history) visit(start string, typing, recording time.Duration) {
	h.add(presence.Unavailable, at(start).Sub(h.at), at(start).Sub(h.at), 0, presence.ByEvent)
	h.add(presence.Available, 12*time.Second, 12*time.Second, 1, presence.ByEvent)
	if typing > 0 {
		h.add(presence.Composing, typing, typing, int64(typing/(10*time.Second))+1, presence.ByEvent)
		h.add(presence.Paused, 40*time.Second, 40*time.Second, 1, presence.ByEvent)
	}
	if recording > 0 {
		h.add(presence.Recording, recording+25*time.Second, recording, 3, presence.ByTimeout)
		h.add(presence.Paused, 5*time.Minute, 0, 0, presence.ByTimeout)
	} else {
		h.add(presence.Available, 5*time.Minute, 0, 1, presence.ByTimeout)
	}
}

// open lets the last status run until now.
func (h *history) open(s presence.Status, now time.Time) []presence.Span {
	h.add(s, now.Sub(h.at), 0, 0, presence.Open)
	h.spans[len(h.spans)-1].End = nil
	return h.spans
}

func day() []presence.Span {
	h := &history{at: at("2026-11-21 13:30:11")}
	h.add(presence.Available, 5*time.Minute, 0, 1, presence.ByTimeout)
	h.visit("2026-11-21 15:02:00", 4*time.Minute, 0)
	h.visit("2026-11-21 15:11:00", 0, 0)
	h.visit("2026-11-21 15:21:00", 26*time.Minute, 2*time.Minute)
	h.visit("2026-11-21 19:40:00", 25*time.Second, 0)
	h.visit("2026-11-21 20:05:30", 70*time.Minute, 0)
	h.visit("2026-11-21 22:45:00", 0, 12*time.Minute)
	h.visit("2026-11-22 07:58:00", 35*time.Second, 0)
	h.visit("2026-11-22 09:30:00", 2*time.Minute, 0)
	return h.open(presence.Unavailable, at("2026-11-22 10:00:00"))
}

func month() []presence.Span {
	h := &history{at: at("2026-10-26 09:15:00")}
	h.add(presence.Available, 50*time.Minute, 0, 1, presence.ByTimeout)
	for _, v := range []struct {
		start             string
		typing, recording time.Duration
	}{
		{"2026-10-26 19:12:00", 3 * time.Minute, 0}, {"2026-10-27 08:01:00", 30 * time.Minute, 0},
		{"2026-10-27 12:30:00", 0, 0}, {"2026-10-27 18:30:00", 0, 45 * time.Minute}, {"2026-10-28 23:50:00", 20 * time.Minute, 0},
		{"2026-10-31 10:00:00", 2 * time.Hour, 0}, {"2026-11-03 10:00:00", 5 * time.Minute, 0}, {"2026-11-03 10:20:00", 5 * time.Minute, time.Minute},
		{"2026-11-03 11:00:00", 90 * time.Minute, 0}, {"2026-11-04 09:00:00", 20 * time.Second, 0}, {"2026-11-14 21:00:00", 20 * time.Second, time.Minute},
		{"2026-11-22 09:50:00", 5 * time.Minute, 0},
	} {
		h.visit(v.start, v.typing, v.recording)
	}
	return h.open(presence.Composing, at("2026-11-22 10:09:40"))
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
		{"day_odd_start_120", day(), "2026-11-21 10:23:45", "2026-11-22 10:23:45", "2026-11-22 10:00:00", 120, false},
		{"hour_80", day()[8:20], "2026-11-21 15:00:00", "2026-11-21 16:00:00", "2026-11-22 10:00:00", 80, false},
		{"minutes_80", day()[8:14], "2026-11-21 15:01:40", "2026-11-21 15:07:10", "2026-11-22 10:00:00", 80, false},
		{"month_80", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 80, false},
		{"month_120", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 120, false},
		{"month_120_colour", month(), "2026-10-25 12:00:00", "2026-11-23 00:00:00", "2026-11-22 10:09:40", 120, true},
		{"nothing_80", nil, "2026-11-21 10:00:00", "2026-11-22 10:00:00", "2026-11-22 10:00:00", 80, false},
		{"month_40", month(), "2026-11-01 00:00:00", "2026-11-06 00:00:00", "2026-11-22 10:09:40", 10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := Timeline(&b, test.spans, at(test.from), at(test.to), at(test.now), test.width, test.colour); err != nil {
				t.Fatal(err)
			}
			width := test.width
			if test.colour || width < minWidth {
				width = 0
			}
			golden(t, "timeline_"+test.name+".txt", b.Bytes(), width)
		})
	}
}
