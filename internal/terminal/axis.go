package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// cellLengths are the lengths of time that a cell may stand for: all divide an hour.
var cellLengths = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
}

// tickLengths are the distances that the labels of an axis may have.
var tickLengths = []time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// drawAxis draws a range of 25 hours at most as one line over an axis of times. Cells begin at round times.
func drawAxis(b *bytes.Buffer, spans []presence.Span, from, to, now time.Time, width int, colour bool) {
	midnight := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, from.Location())
	var cell, skipped time.Duration
	n := 0
	for _, cell = range cellLengths {
		skipped = from.Sub(midnight).Truncate(cell)
		if n = int((to.Sub(midnight) - skipped + cell - 1) / cell); n <= width {
			break
		}
	}
	n = max(n, 1)
	edges := make([]time.Time, n+1)
	for i := range edges {
		edges[i] = clamp(midnight.Add(skipped+time.Duration(i)*cell), from, to)
	}

	zone := from.Format("MST")
	if name := from.Location().String(); name != "Local" {
		zone = name
	}
	fmt.Fprintf(b, "%s to %s, %s\n\n", from.Format("Mon 2 Jan 2006 15:04"), to.Format("Mon 2 Jan 15:04"), zone)
	paintCells(b, cells(spans, edges, now), colour)
	b.WriteString("\n")

	layout, gap := "15:04", 3
	if cell < 10*time.Second && n*int(cell/time.Second) < 600 {
		layout = "15:04:05"
	}
	tick := tickLengths[len(tickLengths)-1]
	for _, t := range tickLengths {
		if t%cell == 0 && int(t/cell) >= len(layout)+gap {
			tick = t
			break
		}
	}
	var rule, labels strings.Builder
	free := 0 // the first column that no label has taken
	for i := range n {
		at := midnight.Add(skipped + time.Duration(i)*cell)
		if (skipped+time.Duration(i)*cell)%tick != 0 {
			rule.WriteString("─")
			continue
		}
		rule.WriteString("┴")
		if i >= free && i+len(layout) <= width {
			labels.WriteString(strings.Repeat(" ", i-utf8.RuneCountInString(labels.String())) + at.Format(layout))
			free = i + len(layout) + 1
		}
	}
	b.WriteString(paint(colour, dimGrey, rule.String()) + "\n")
	fmt.Fprintf(b, "%s\n", labels.String())
}

const (
	dayLabel   = "Mon 16 " // before the cells of a day
	quietDays  = 3         // so many days in a row in which nothing happened are one line
	hoursOfDay = 24
)

// drawDays draws a line for each local day. All days have the same cells by the clock on the wall: an hour that a day
// has twice falls into one cell, one that it lacks is blank.
func drawDays(b *bytes.Buffer, spans []presence.Span, from, to, now time.Time, width int, colour bool) {
	perHour := 1
	for _, k := range []int{2, 3, 4, 6, 12} {
		if len(dayLabel)+hoursOfDay*k <= width {
			perHour = k
		}
	}
	edges := make([]time.Time, hoursOfDay*perHour+1)
	month := ""
	var quiet [][]byte // the lines of the days before, in which nothing happened
	flush := func() {
		if len(quiet) < quietDays {
			b.Write(bytes.Join(quiet, nil))
		} else {
			b.WriteString(paint(colour, dimGrey, fmt.Sprintf("   ⋮   %d days without a visit", len(quiet))) + "\n")
		}
		quiet = quiet[:0]
	}
	y, m, d := from.Date()
	for ; time.Date(y, m, d, 0, 0, 0, 0, from.Location()).Before(to); d++ {
		day := time.Date(y, m, d, 12, 0, 0, 0, from.Location())
		if name := day.Format("January 2006"); name != month {
			flush()
			drawHours(b, name, perHour, month == "", colour)
			month = name
		}
		for i := range edges {
			edges[i] = clamp(time.Date(y, m, d, 0, i*60/perHour, 0, 0, from.Location()), from, to)
		}
		shown := cells(spans, edges, now)
		var line bytes.Buffer
		line.WriteString(day.Format("Mon _2 "))
		paintCells(&line, shown, colour)
		line.WriteString("\n")
		if isQuiet(shown) {
			quiet = append(quiet, line.Bytes())
			continue
		}
		flush()
		b.Write(line.Bytes())
	}
	flush()
}

func isQuiet(shown []presence.Status) bool {
	for _, s := range shown {
		if s != 0 && s != presence.Unavailable {
			return false
		}
	}
	return true
}

// drawHours writes a month's name and the hours of its days.
func drawHours(b *bytes.Buffer, month string, perHour int, first, colour bool) {
	if !first {
		b.WriteString("\n")
	}
	b.WriteString(paint(colour, bold, month) + "\n")
	every := 3
	if perHour == 1 {
		every = 6
	}
	line := strings.Repeat(" ", len(dayLabel))
	for h := 0; h < hoursOfDay; h += every {
		line += fmt.Sprintf("%-*s", every*perHour, fmt.Sprintf("%02d", h))
	}
	b.WriteString(paint(colour, dimGrey, strings.TrimRight(line, " ")) + "\n")
}

func clamp(t, from, to time.Time) time.Time {
	switch {
	case t.Before(from):
		return from
	case t.After(to):
		return to
	}
	return t
}
