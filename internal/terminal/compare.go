package terminal

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// Comparison writes a table of contacts and their durations over [from, to), as Durations does for buckets. Times are in
// from's location. The only errors are w's.
func Comparison(w io.Writer, contacts []presence.ContactSummary, from, to time.Time, width int, colour bool) error {
	var b bytes.Buffer
	labels, parts := make([]string, len(contacts)), make([]presence.Summary, len(contacts))
	for i, c := range contacts {
		labels[i], parts[i] = c.Phone, c.Summary
	}
	drawRangeInZone(&b, from, to.In(from.Location()), colour)
	drawSummaries(&b, "Contact", labels, parts, nil, max(width, minWidth), colour)
	_, err := w.Write(b.Bytes())
	return err
}

// Top writes a table of contacts and what they have most of over [from, to), with a bar for their count or their time. Times
// are in from's location. The only errors are w's.
func Top(w io.Writer, contacts []presence.Rank, byCount bool, from, to time.Time, width int, colour bool) error {
	var b bytes.Buffer
	drawRangeInZone(&b, from, to.In(from.Location()), colour)
	if len(contacts) == 0 {
		b.WriteString("No contacts.\n")
		_, err := w.Write(b.Bytes())
		return err
	}
	of := func(c presence.Rank) float64 {
		if byCount {
			return float64(c.Count)
		}
		return c.Seconds
	}
	rows := [][]string{{"", "Contact", "Count", "Length", "Confirmed"}}
	for i, c := range contacts {
		rows = append(rows, []string{strconv.Itoa(i + 1), c.Phone, Count(c.Count), Length(c.Seconds), Length(c.ConfirmedSeconds)})
	}
	lines := align(rows, 1)
	b.WriteString(paint(colour, bold, lines[0]) + "\n")
	space := max(width, minWidth) - utf8.RuneCountInString(lines[0]) - 2 // all lines end with the column that ends at the right
	for i, c := range contacts {
		b.WriteString(lines[i+1])
		if most := of(contacts[0]); most > 0 && space >= minBar {
			b.WriteString("  " + paint(colour, cyan, strings.Repeat("█", max(1, int(math.Round(of(c)/most*float64(space)))))))
		}
		b.WriteString("\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// shades are how much of the most time of an hour an hour has: nothing, up to a quarter, …, up to all of it.
var shades = [...]string{"·", "░", "▒", "▓", "█"}

// Heatmap draws a line for each weekday and a column for each hour, the darker the more time there is over [from, to), and
// says what each shade means. Cells are those of history: Monday 0 h first. Times are in from's location. The only errors
// are w's.
func Heatmap(w io.Writer, cells []presence.Heat, from, to time.Time, width int, colour bool) error {
	var b bytes.Buffer
	drawRangeInZone(&b, from, to.In(from.Location()), colour)
	most := 0.0
	rows := [][]string{} // the totals of the days
	for day := range 7 {
		seconds := 0.0
		for _, c := range cells[day*hoursOfDay : (day+1)*hoursOfDay] {
			seconds += c.Seconds
			most = max(most, c.Seconds)
		}
		rows = append(rows, []string{Length(seconds)})
	}
	totals := align(rows)
	const label = "Mon "
	columns := 1
	for columns < 3 && len(label)+hoursOfDay*(columns+1)+2+utf8.RuneCountInString(totals[0]) <= width {
		columns++
	}

	hours := strings.Repeat(" ", len(label))
	const every = 3
	for hour := 0; hour < hoursOfDay; hour += every {
		hours += fmt.Sprintf("%-*s", every*columns, fmt.Sprintf("%02d", hour))
	}
	b.WriteString(paint(colour, dimGrey, strings.TrimRight(hours, " ")) + "\n")
	for day, name := range []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"} {
		b.WriteString(name + " ")
		for _, c := range cells[day*hoursOfDay : (day+1)*hoursOfDay] {
			shade := shadeOf(c.Seconds, most)
			b.WriteString(paint(colour, shadeColour(shade), strings.Repeat(shades[shade], columns)))
		}
		b.WriteString("  " + totals[day] + "\n")
	}
	if most > 0 {
		b.WriteString("\n")
		used := legendItem(&b, "· nothing", paint(colour, dimGrey, "·")+" nothing", 0, max(width, minWidth))
		for shade := 1; shade < len(shades); shade++ {
			text := " up to " + Length(most*float64(shade)/float64(len(shades)-1))
			used = legendItem(&b, shades[shade]+text, paint(colour, shadeColour(shade), shades[shade])+text, used, max(width, minWidth))
		}
		b.WriteString("\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// shadeOf gives whatever there is a shade of its own, so that a moment is not taken for nothing.
func shadeOf(seconds, most float64) int {
	if seconds <= 0 {
		return 0
	}
	return min(len(shades)-1, max(1, int(math.Ceil(seconds/most*float64(len(shades)-1)))))
}

func shadeColour(shade int) string {
	if shade == 0 {
		return dimGrey
	}
	return cyan
}
