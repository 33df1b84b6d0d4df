package terminal

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// latestSpans is the number of spans that Timeline lists.
const latestSpans = 10

// look says how a status is drawn. Glyphs differ, so that colours are not needed.
type look struct{ glyph, colour string }

// interest orders the statuses: a cell shows the first of those it contains.
var interest = []presence.Status{presence.Recording, presence.Composing, presence.Paused, presence.Available, presence.Unavailable}

var looks = map[presence.Status]look{
	presence.Recording:   {"▓", red},
	presence.Composing:   {"█", cyan},
	presence.Paused:      {"▄", yellow},
	presence.Available:   {"▂", green},
	presence.Unavailable: {"·", dimGrey},
}

// Timeline draws the part of a contact's spans in [from, to), up to now: over one axis if it is a day or less, otherwise a line
// for each local day. Below, it lists the latest spans. Times are in from's location. The spans are ordered by start and do not
// overlap; before the first one the status is unknown.
func (s Screen) Timeline(spans []presence.Span, from, to, now time.Time) string {
	to = to.In(from.Location())
	d := s.draw()
	// A day has 25 hours when clocks are set back.
	if to.Sub(from) <= 25*time.Hour {
		d.drawAxis(spans, from, to, now)
	} else {
		d.drawDays(spans, from, to, now)
	}
	d.WriteString("\n")
	d.drawLegend()
	d.listSpans(spans, from.Location())
	return d.String()
}

// cells returns, for each [edges[i], edges[i+1]), its first status in the order of interest; 0 if unknown.
func cells(spans []presence.Span, edges []time.Time, now time.Time) []presence.Status {
	shown := make([]presence.Status, len(edges)-1)
	first := 0 // earlier spans end before the cell
	for i := range shown {
		start, end := edges[i], edges[i+1]
		for first < len(spans) && !spanEnd(spans[first], now).After(start) {
			first++
		}
		for _, s := range spans[first:] {
			if !start.Before(end) || !s.Start.Before(end) {
				break
			}
			if shown[i] == 0 || slices.Index(interest, s.Status) < slices.Index(interest, shown[i]) {
				shown[i] = s.Status
			}
		}
	}
	return shown
}

func spanEnd(s presence.Span, now time.Time) time.Time {
	if s.End == nil {
		return now
	}
	return *s.End
}

// paintCells returns cells, with one colour sequence for equal neighbours.
func (d *drawing) paintCells(shown []presence.Status) string {
	for len(shown) > 0 && shown[len(shown)-1] == 0 {
		shown = shown[:len(shown)-1] // no trailing blanks
	}
	var b strings.Builder
	for len(shown) > 0 {
		n := 1
		for n < len(shown) && shown[n] == shown[0] {
			n++
		}
		if l, known := looks[shown[0]]; known {
			b.WriteString(d.paint(l.colour, strings.Repeat(l.glyph, n)))
		} else {
			b.WriteString(strings.Repeat(" ", n))
		}
		shown = shown[n:]
	}
	return b.String()
}

func (d *drawing) drawLegend() {
	used := 0
	for _, s := range interest {
		l := looks[s]
		used = d.legendItem(l.colour, l.glyph, " "+s.String(), used)
	}
	d.legendItem("", "", "blank: not known", used)
	d.WriteString("\n")
}

// legendItem writes an item after used columns, on a new line if it does not fit, and returns the columns then used.
func (d *drawing) legendItem(colour, glyph, text string, used int) int {
	n := utf8.RuneCountInString(glyph + text)
	switch {
	case used == 0:
	case used+2+n > d.Width:
		d.WriteString("\n")
		used = 0
	default:
		d.WriteString("  ")
		used += 2
	}
	d.WriteString(d.paint(colour, glyph) + text)
	return used + n
}

// listSpans lists the latest spans, the newest at the bottom, next to the prompt.
func (d *drawing) listSpans(spans []presence.Span, loc *time.Location) {
	d.WriteString("\n")
	if len(spans) == 0 {
		d.WriteString("No spans.\n")
		return
	}
	earlier := max(0, len(spans)-latestSpans)
	rows := [][]string{{"Start", "Status", "Length", "Confirmed", "Events", "Ended by"}}
	for _, s := range spans[earlier:] {
		rows = append(rows, []string{
			s.Start.In(loc).Format(time.DateTime), looks[s.Status].glyph + " " + s.Status.String(),
			Length(s.Seconds), Length(s.ConfirmedSeconds), Count(s.Events), string(s.EndedBy),
		})
	}
	lines := align(rows, 0, 1, 5)
	d.WriteString(d.paint(bold, lines[0]) + "\n")
	if earlier > 0 {
		d.WriteString(d.paint(dimGrey, "… "+Count(int64(earlier))+" earlier") + "\n")
	}
	for i, line := range lines[1:] {
		l := looks[spans[earlier+i].Status]
		d.WriteString(strings.Replace(line, l.glyph, d.paint(l.colour, l.glyph), 1) + "\n")
	}
}
