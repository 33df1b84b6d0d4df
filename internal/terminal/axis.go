package terminal

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

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

	drawTitle(b, from, to, cell, colour)
	paintCells(b, cells(spans, edges, now), colour)
	b.WriteString("\n")

	tick, layout := time.Duration(0), ""
	for _, tick = range tickLengths {
		if layout = "15:04"; tick < time.Minute {
			layout = "15:04:05"
		}
		if int(tick/cell) >= len(layout)+3 {
			break
		}
	}
	var rule, labels strings.Builder
	for i := range n {
		at := midnight.Add(skipped + time.Duration(i)*cell)
		if (skipped+time.Duration(i)*cell)%tick != 0 {
			rule.WriteString("─")
			continue
		}
		rule.WriteString("┴")
		if i+len(layout) <= width {
			labels.WriteString(strings.Repeat(" ", i-labels.Len()) + at.Format(layout))
		}
	}
	b.WriteString(paint(colour, dimGrey, rule.String()) + "\n")
	fmt.Fprintf(b, "%s\n", labels.String())
}

// drawTitle says what range is drawn, by which clock, and how long a column lasts.
func drawTitle(b *bytes.Buffer, from, to time.Time, cell time.Duration, colour bool) {
	drawRange(b, from, to, colour)
	b.WriteString(paint(colour, dimGrey, zoneName(from)+", one column is "+columnLength(cell)) + "\n\n")
}

func drawRange(b *bytes.Buffer, from, to time.Time, colour bool) {
	clock := "15:04"
	if from.Second() != 0 || to.Second() != 0 {
		clock = "15:04:05"
	}
	end := to.Format("Mon 2 Jan 2006, " + clock)
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		end = to.Format(clock)
	}
	b.WriteString(paint(colour, bold, from.Format("Mon 2 Jan 2006, "+clock)+" to "+end) + "\n")
}

// zoneName names t's zone; zones without a name of their own, by their distance from UTC at t.
func zoneName(t time.Time) string {
	name := t.Location().String()
	if name == "" || name == "Local" {
		return "UTC" + t.Format("-07:00")
	}
	return name
}

func columnLength(cell time.Duration) string {
	for _, u := range []struct {
		length time.Duration
		name   string
	}{{time.Hour, "h"}, {time.Minute, "min"}} {
		if cell >= u.length {
			return fmt.Sprintf("%d %s", cell/u.length, u.name)
		}
	}
	return fmt.Sprintf("%d s", cell/time.Second)
}

const (
	dayLabel   = "Mon 16 " // before the cells of a day
	quietDays  = 3         // so many days in a row that show nothing are one line
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
	drawTitle(b, from, to, time.Hour/time.Duration(perHour), colour)
	month := ""
	var quiet [][]byte // the lines of the days before that show nothing, all for the same reason
	why := ""
	flush := func() {
		if len(quiet) < quietDays {
			b.Write(bytes.Join(quiet, nil))
		} else {
			b.WriteString(paint(colour, dimGrey, fmt.Sprintf("   ⋮   %d days %s", len(quiet), why)) + "\n")
		}
		quiet = nil
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
		for i := len(edges) - 2; i >= 0; i-- { // time.Date may put what the clock skips behind what follows
			edges[i] = clamp(edges[i], from, edges[i+1])
		}
		shown := cells(spans, edges, now)
		var painted bytes.Buffer
		painted.WriteString(day.Format("Mon _2 "))
		paintCells(&painted, shown, colour)
		line := append(bytes.TrimRight(painted.Bytes(), " "), '\n')
		if reason := quietReason(shown); reason != why {
			flush()
			why = reason
		}
		if why != "" {
			quiet = append(quiet, line)
			continue
		}
		b.Write(line)
	}
	flush()
}

// quietReason says why a day shows nothing, "" if it shows something.
func quietReason(shown []presence.Status) string {
	switch slices.IndexFunc(interest, func(s presence.Status) bool { return slices.Contains(shown, s) }) {
	case -1:
		return "not known"
	case len(interest) - 1: // UNAVAILABLE is the most that there is
		return "without a visit"
	}
	return ""
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
