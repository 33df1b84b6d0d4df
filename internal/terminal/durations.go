package terminal

import (
	"bytes"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// Durations writes a table of buckets, with a bar for the time in the chat and within it the time at typing or recording,
// a line of their total, and the figures of the total. Times are in loc. The only errors are w's.
func Durations(w io.Writer, total presence.Summary, buckets []presence.Bucket, loc *time.Location, width int, colour bool) error {
	var b bytes.Buffer
	if len(buckets) > 0 {
		drawBuckets(&b, total, buckets, loc, max(width, minWidth), colour)
		b.WriteString("\n")
	}
	drawFigures(&b, total, colour)
	_, err := w.Write(b.Bytes())
	return err
}

func drawBuckets(b *bytes.Buffer, total presence.Summary, buckets []presence.Bucket, loc *time.Location, width int, colour bool) {
	head, layout := bucketLabel(buckets)
	labels, parts := make([]string, len(buckets)), make([]presence.Summary, len(buckets))
	for i, k := range buckets {
		labels[i], parts[i] = k.Start.In(loc).Format(layout), k.Summary
	}
	drawRangeInZone(b, buckets[0].Start.In(loc), buckets[len(buckets)-1].End.In(loc), colour)
	drawSummaries(b, head, labels, parts, &total, width, colour)
}

// drawRangeInZone says what range a table is of, and by which clock.
func drawRangeInZone(b *bytes.Buffer, from, to time.Time, colour bool) {
	drawRange(b, from, to, colour)
	b.WriteString(paint(colour, dimGrey, zoneName(from)) + "\n\n")
}

// drawSummaries writes a table of summaries, each with a label and a bar, and their total if there is one.
func drawSummaries(b *bytes.Buffer, head string, labels []string, parts []presence.Summary, total *presence.Summary, width int, colour bool) {
	rows := [][]string{{head, "", "Typing", "", "Recording", "", "In chat"}}
	longest := 0.0
	for i, s := range parts {
		rows = append(rows, summaryRow(labels[i], s))
		longest = max(longest, s.InChat.Seconds)
	}
	if total != nil {
		rows = append(rows, summaryRow("Total", *total))
	}
	lines := align(rows, 0)
	tableWidth := 0
	for _, line := range lines {
		tableWidth = max(tableWidth, utf8.RuneCountInString(line))
	}
	space := width - tableWidth - 2

	b.WriteString(paint(colour, bold, lines[0]) + "\n")
	for i, s := range parts {
		line := lines[i+1]
		if s.InChat.Seconds > 0 && space >= minBar {
			line += strings.Repeat(" ", tableWidth-utf8.RuneCountInString(line)+2) + summaryBar(s, longest, space, colour)
		}
		b.WriteString(line + "\n")
	}
	if total != nil {
		b.WriteString(paint(colour, bold, lines[len(lines)-1]) + "\n")
	}
	if longest > 0 && space >= minBar {
		b.WriteString("\n" + paint(colour, cyan, "█") + " typing or recording  " + paint(colour, green, "░") + " in chat without\n")
	}
}

// summaryRow is a label, then a count and a length for each kind.
func summaryRow(label string, s presence.Summary) []string {
	row := []string{label}
	for _, d := range []presence.Durations{s.Typing, s.Recording, s.InChat} {
		if d.Count == 0 && d.Seconds == 0 {
			row = append(row, "", "–")
			continue
		}
		row = append(row, Count(d.Count), Length(d.Seconds))
	}
	return row
}

// minBar is the least space in which bars are drawn.
const minBar = 4

// summaryBar draws the time in the chat, longest taking all the space. Whatever there is gets a column of its own, so that a
// moment of typing is not taken for none.
func summaryBar(s presence.Summary, longest float64, space int, colour bool) string {
	columns := max(1, int(math.Round(s.InChat.Seconds/longest*float64(space))))
	hands := s.Typing.Seconds + s.Recording.Seconds
	solid := min(columns, int(math.Round(hands/s.InChat.Seconds*float64(columns))))
	if hands > 0 {
		solid = max(1, solid)
	}
	return paint(colour, cyan, strings.Repeat("█", solid)) + paint(colour, green, strings.Repeat("░", columns-solid))
}

// bucketLabel names the kind of the buckets and the layout of their starts. The first and the last one may be cut, so the
// longest one tells.
func bucketLabel(buckets []presence.Bucket) (label, layout string) {
	longest := time.Duration(0)
	for _, k := range buckets {
		longest = max(longest, k.End.Sub(k.Start))
	}
	const day = 24 * time.Hour
	switch hour := time.Hour; { // an hour more, where the clock is put back
	case longest <= hour:
		return "Hour", "Mon _2 Jan 15:04"
	case longest <= day+hour:
		return "Day", "Mon _2 Jan"
	case longest <= 7*day+hour:
		return "Week of", "Mon _2 Jan"
	default:
		return "Month", "Jan 2006"
	}
}

// drawFigures writes what a Summary holds, a column for each of its three kinds.
func drawFigures(b *bytes.Buffer, total presence.Summary, colour bool) {
	rows := [][]string{{"", "Typing", "Recording", "In chat"}, {"Count"}, {"Length"}, {"Confirmed"}, {"Mean"}, {"Median"}, {"P90"}, {"Longest"}}
	for _, d := range []presence.Durations{total.Typing, total.Recording, total.InChat} {
		rows[1] = append(rows[1], Count(d.Count))
		for i, s := range []*float64{&d.Seconds, &d.ConfirmedSeconds, d.MeanSeconds, d.MedianSeconds, d.P90Seconds, d.MaxSeconds} {
			length := "–"
			if s != nil {
				length = Length(*s)
			}
			rows[2+i] = append(rows[2+i], length)
		}
	}
	lines := align(rows, 0)
	lines[0] = paint(colour, bold, lines[0])
	b.WriteString(strings.Join(lines, "\n") + "\n")
}
