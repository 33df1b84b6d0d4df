package terminal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// cellLengths are the possible durations of a cell: all divide an hour.
var cellLengths = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
}

// tickLengths are the intervals between the labels of an axis.
var tickLengths = []time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// drawAxis draws a range of at most 25 hours as one line above an axis of times. Cells begin at round times.
func (d *drawing) drawAxis(spans []presence.Span, from, to, now time.Time) {
	midnight := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, from.Location())
	var cell, skipped time.Duration
	n := 0
	for _, cell = range cellLengths {
		skipped = from.Sub(midnight).Truncate(cell)
		if n = int((to.Sub(midnight) - skipped + cell - 1) / cell); n <= d.Width {
			break
		}
	}
	n = max(n, 1)
	edges := make([]time.Time, n+1)
	for i := range edges {
		edges[i] = clamp(midnight.Add(skipped+time.Duration(i)*cell), from, to)
	}

	d.drawTitle(from, to, cell)
	d.WriteString(d.paintCells(cells(spans, edges, now)) + "\n")

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
		if i+len(layout) <= d.Width {
			labels.WriteString(strings.Repeat(" ", i-labels.Len()) + at.Format(layout))
		}
	}
	d.WriteString(d.paint(dimGrey, rule.String()) + "\n")
	fmt.Fprintf(d, "%s\n", labels.String())
}

// drawTitle writes the range, its time zone, and the duration of a column.
func (d *drawing) drawTitle(from, to time.Time, cell time.Duration) {
	d.drawRange(from, to)
	d.WriteString(d.paint(dimGrey, zoneName(from)+", one column is "+columnLength(cell)) + "\n\n")
}

func (d *drawing) drawRange(from, to time.Time) {
	clock := "15:04"
	if from.Second() != 0 || to.Second() != 0 {
		clock = "15:04:05"
	}
	end := to.Format("Mon 2 Jan 2006, " + clock)
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		end = to.Format(clock)
	}
	d.WriteString(d.paint(bold, from.Format("Mon 2 Jan 2006, "+clock)+" to "+end) + "\n")
}

// zoneName returns the name of t's zone, or its offset from UTC if it has none.
func zoneName(t time.Time) string {
	name := t.Location().String()
	if name == "" || name == "Local" {
		return "UTC" + t.Format("-07:00")
	}
	return name
}

func columnLength(cell time.Duration) string {
	switch {
	case cell >= time.Hour:
		return fmt.Sprintf("%d h", cell/time.Hour)
	case cell >= time.Minute:
		return fmt.Sprintf("%d min", cell/time.Minute)
	}
	return fmt.Sprintf("%d s", cell/time.Second)
}

const (
	dayLabel   = "Mon 16 " // before the cells of a day
	quietDays  = 3         // number of consecutive empty days that become one line
	hoursOfDay = 24
)

// drawDays draws a line for each local day. All days have the same cells of local time: if clocks change, a repeated hour has
// one cell, and a skipped hour is blank.
func (d *drawing) drawDays(spans []presence.Span, from, to, now time.Time) {
	perHour := 1
	for _, k := range []int{2, 3, 4, 6, 12} {
		if len(dayLabel)+hoursOfDay*k <= d.Width {
			perHour = k
		}
	}
	edges := make([]time.Time, hoursOfDay*perHour+1)
	d.drawTitle(from, to, time.Hour/time.Duration(perHour))
	month := ""
	var quiet []string // lines of the previous empty days, all with the same reason
	why := ""
	flush := func() {
		if len(quiet) < quietDays {
			d.WriteString(strings.Join(quiet, ""))
		} else {
			d.WriteString(d.paint(dimGrey, fmt.Sprintf("   ⋮   %d days %s", len(quiet), why)) + "\n")
		}
		quiet = nil
	}
	y, m, n := from.Date()
	for ; clockTime(y, m, n, 0, from.Location()).Before(to); n++ {
		day := time.Date(y, m, n, 12, 0, 0, 0, from.Location())
		if name := day.Format("January 2006"); name != month {
			flush()
			d.drawHours(name, perHour, month == "")
			month = name
		}
		for i := range edges {
			edges[i] = clamp(clockTime(y, m, n, i*60/perHour, from.Location()), from, to)
		}
		for i := len(edges) - 2; i >= 0; i-- { // clockTime may move a skipped time after the next edge
			edges[i] = clamp(edges[i], from, edges[i+1])
		}
		shown := cells(spans, edges, now)
		line := strings.TrimRight(day.Format("Mon _2 ")+d.paintCells(shown), " ") + "\n"
		if reason := quietReason(shown); reason != why {
			flush()
			why = reason
		}
		if why != "" {
			quiet = append(quiet, line)
			continue
		}
		d.WriteString(line)
	}
	flush()
}

// clockTime returns the moment at which clocks show a time, or a later one if they skip it: time.Date may return an earlier one.
func clockTime(year int, month time.Month, day, minute int, loc *time.Location) time.Time {
	at := time.Date(year, month, day, 0, minute, 0, 0, loc)
	_, offset := at.Zone()
	shown := at.Add(time.Duration(offset) * time.Second)
	return at.Add(max(0, time.Date(year, month, day, 0, minute, 0, 0, time.UTC).Sub(shown)))
}

// quietReason says why a day is empty; "" if it is not.
func quietReason(shown []presence.Status) string {
	switch slices.IndexFunc(interest, func(s presence.Status) bool { return slices.Contains(shown, s) }) {
	case -1:
		return "not known"
	case len(interest) - 1: // no cell shows more than UNAVAILABLE
		return "without a visit"
	}
	return ""
}

// drawHours writes a month's name and the hours of its days.
func (d *drawing) drawHours(month string, perHour int, first bool) {
	if !first {
		d.WriteString("\n")
	}
	d.WriteString(d.paint(bold, month) + "\n")
	every := 3
	if perHour == 1 {
		every = 6
	}
	line := strings.Repeat(" ", len(dayLabel))
	for h := 0; h < hoursOfDay; h += every {
		line += fmt.Sprintf("%-*s", every*perHour, fmt.Sprintf("%02d", h))
	}
	d.WriteString(d.paint(dimGrey, strings.TrimRight(line, " ")) + "\n")
}

func clamp(t, from, to time.Time) time.Time {
	return presence.Later(from, presence.Earlier(t, to))
}
