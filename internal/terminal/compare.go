package terminal

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// Comparison writes a table of contacts and their durations over [from, to), as Durations does for buckets. Times are in
// from's location.
func (s Screen) Comparison(contacts []presence.ContactSummary, from, to time.Time) string {
	d := s.draw()
	labels, parts := make([]string, len(contacts)), make([]presence.Summary, len(contacts))
	for i, c := range contacts {
		labels[i], parts[i] = Text(c.Phone), c.Summary
	}
	d.drawRangeInZone(from, to)
	d.drawSummaries("Contact", labels, parts, nil)
	return d.String()
}

// Top writes a table of the most active contacts over [from, to), with a bar for their count or their time. Times
// are in from's location.
func (s Screen) Top(contacts []presence.Rank, byCount bool, from, to time.Time) string {
	d := s.draw()
	d.drawRangeInZone(from, to)
	if len(contacts) == 0 {
		d.WriteString("No contacts.\n")
		return d.String()
	}
	of := func(c presence.Rank) float64 {
		if byCount {
			return float64(c.Count)
		}
		return c.Seconds
	}
	rows := [][]string{{"", "Contact", "Count", "Length", "Confirmed"}}
	for i, c := range contacts {
		rows = append(rows, []string{strconv.Itoa(i + 1), Text(c.Phone), Count(c.Count), Length(c.Seconds), Length(c.ConfirmedSeconds)})
	}
	lines := align(rows, 1)
	d.WriteString(d.paint(bold, lines[0]) + "\n")
	space := d.Width - utf8.RuneCountInString(lines[0]) - 2 // all lines have the same width
	for i, c := range contacts {
		d.WriteString(lines[i+1])
		if most := of(contacts[0]); most > 0 && space >= minBar {
			d.WriteString("  " + d.paint(cyan, strings.Repeat("█", max(1, int(math.Round(of(c)/most*float64(space)))))))
		}
		d.WriteString("\n")
	}
	return d.String()
}

// shades are for shares of the largest cell: nothing, up to a quarter, …, up to all of it.
var shades = [...]string{"·", "░", "▒", "▓", "█"}

// Heatmap draws a line for each weekday and a column for each hour over [from, to), darker for more time, and a legend. Cells are
// those of history: Monday 0 h first. Times are in from's location.
func (s Screen) Heatmap(cells []presence.Heat, from, to time.Time) string {
	d := s.draw()
	d.drawRangeInZone(from, to)
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
	d.drawWeek(func(i int) float64 { return cells[i].Seconds }, most, align(rows))
	if most > 0 {
		d.WriteString("\n")
		used := d.legendItem(shadeColour(0), shades[0], " nothing", 0)
		for shade := 1; shade < len(shades); shade++ {
			text := " up to " + Length(most*float64(shade)/float64(len(shades)-1))
			used = d.legendItem(shadeColour(shade), shades[shade], text, used)
		}
		d.WriteString("\n")
	}
	return d.String()
}

// drawWeek draws a line for each weekday and a column for each hour, shaded by value. after has the ends of the lines.
func (d *drawing) drawWeek(value func(i int) float64, most float64, after []string) {
	const label = "Mon "
	columns := 1
	for columns < 3 && len(label)+hoursOfDay*(columns+1)+2+utf8.RuneCountInString(after[0]) <= d.Width {
		columns++
	}
	hours := strings.Repeat(" ", len(label))
	const every = 3
	for hour := 0; hour < hoursOfDay; hour += every {
		hours += fmt.Sprintf("%-*s", every*columns, fmt.Sprintf("%02d", hour))
	}
	d.WriteString(d.paint(dimGrey, strings.TrimRight(hours, " ")) + "\n")
	for day, name := range weekdays {
		d.WriteString(name + " ")
		for hour := range hoursOfDay {
			shade := shadeOf(value(day*hoursOfDay+hour), most)
			d.WriteString(d.paint(shadeColour(shade), strings.Repeat(shades[shade], columns)))
		}
		d.WriteString(strings.TrimRight("  "+after[day], " ") + "\n")
	}
}

var weekdays = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// Habits draws the share of weeks in which a contact was in the chat, for each hour of the week, and lists the best hours.
func (s Screen) Habits(cells, best []presence.Habit, from, to time.Time) string {
	d := s.draw()
	d.drawRangeInZone(from, to)
	d.drawWeek(func(i int) float64 { return cells[i].Share }, 1, make([]string, len(weekdays)))
	d.WriteString("\n")
	used := 0
	for shade := range shades {
		text := " never"
		if shade > 0 {
			text = fmt.Sprintf(" up to %d %% of weeks", 100*shade/(len(shades)-1))
		}
		used = d.legendItem(shadeColour(shade), shades[shade], text, used)
	}
	d.WriteString("\n")
	for i, h := range best {
		if i == 0 {
			d.WriteString("\nBest hours\n")
		}
		fmt.Fprintf(d, "%s %02d:00  %3.0f %%\n", weekdays[h.Weekday-1], h.Hour, 100*h.Share)
	}
	return d.String()
}

// shadeOf returns a shade for every time above 0, so that short times are visible.
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
