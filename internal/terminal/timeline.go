package terminal

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// latestSpans is how many spans Timeline lists.
const latestSpans = 10

// minWidth is the least width that is drawn for: anything narrower gets lines that are too long.
const minWidth = 40

// look is how a status is drawn: its glyph tells it from the others without the colour too.
type look struct{ glyph, colour string }

// interest orders the statuses: of those in a cell the first one here is shown.
var interest = []presence.Status{presence.Recording, presence.Composing, presence.Paused, presence.Available, presence.Unavailable}

var looks = map[presence.Status]look{
	presence.Recording:   {"▓", red},
	presence.Composing:   {"█", cyan},
	presence.Paused:      {"▄", yellow},
	presence.Available:   {"▂", green},
	presence.Unavailable: {"·", dimGrey},
}

// Timeline draws the part of a contact's spans that lies in [from, to), up to now, in lines of width columns: over one axis
// if it is a day or less, else a line for each local day. Below it lists the latest spans. Times are in from's location.
// The spans are ordered by their start and do not overlap, as presence has them; before the first one nothing is known.
// The only errors are w's.
func Timeline(w io.Writer, spans []presence.Span, from, to, now time.Time, width int, colour bool) error {
	width = max(width, minWidth)
	to = to.In(from.Location())
	var b bytes.Buffer
	// A day has 25 hours where the clock is put back.
	if to.Sub(from) <= 25*time.Hour {
		drawAxis(&b, spans, from, to, now, width, colour)
	} else {
		drawDays(&b, spans, from, to, now, width, colour)
	}
	b.WriteString("\n")
	drawLegend(&b, width, colour)
	listSpans(&b, spans, from.Location(), colour)
	_, err := w.Write(b.Bytes())
	return err
}

// cells tells for each [edges[i], edges[i+1]) the most interesting status in it, 0 where none is known.
func cells(spans []presence.Span, edges []time.Time, now time.Time) []presence.Status {
	shown := make([]presence.Status, len(edges)-1)
	first := 0 // the spans before it end before the cell
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

// paintCells writes cells, runs of a status in one go of colour.
func paintCells(b *bytes.Buffer, shown []presence.Status, colour bool) {
	for len(shown) > 0 && shown[len(shown)-1] == 0 {
		shown = shown[:len(shown)-1] // no blanks at the end of a line
	}
	for len(shown) > 0 {
		n := 1
		for n < len(shown) && shown[n] == shown[0] {
			n++
		}
		l, known := looks[shown[0]]
		if !known {
			l.glyph = " "
		}
		b.WriteString(paint(colour && known, l.colour, strings.Repeat(l.glyph, n)))
		shown = shown[n:]
	}
}

func drawLegend(b *bytes.Buffer, width int, colour bool) {
	used := 0
	for _, s := range interest {
		l := looks[s]
		used = legendItem(b, l.glyph+" "+s.String(), paint(colour, l.colour, l.glyph)+" "+s.String(), used, width)
	}
	legendItem(b, "blank: not known", "blank: not known", used, width)
	b.WriteString("\n")
}

// legendItem writes an item after used columns, on a new line if it does not fit, and returns the columns then used.
func legendItem(b *bytes.Buffer, text, painted string, used, width int) int {
	n := utf8.RuneCountInString(text)
	switch {
	case used == 0:
	case used+2+n > width:
		b.WriteString("\n")
		used = 0
	default:
		b.WriteString("  ")
		used += 2
	}
	b.WriteString(painted)
	return used + n
}

// listSpans lists the latest spans, the last one lowest, where the eye is when all is written.
func listSpans(b *bytes.Buffer, spans []presence.Span, loc *time.Location, colour bool) {
	b.WriteString("\n")
	if len(spans) == 0 {
		b.WriteString("No spans.\n")
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
	b.WriteString(paint(colour, bold, lines[0]) + "\n")
	if earlier > 0 {
		b.WriteString(paint(colour, dimGrey, "… "+Count(int64(earlier))+" earlier") + "\n")
	}
	for i, line := range lines[1:] {
		l := looks[spans[earlier+i].Status]
		b.WriteString(strings.Replace(line, l.glyph, paint(colour, l.colour, l.glyph), 1) + "\n")
	}
}
