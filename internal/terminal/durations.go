package terminal

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// Durations writes a table of buckets, which are an hour, day, week or month long, with a bar for the time in the chat that shows
// the part with typing or recording, and the figures of the total. Times are in loc.
func (s Screen) Durations(total presence.Summary, bucket string, buckets []presence.Bucket, loc *time.Location) string {
	d := s.draw()
	if len(buckets) > 0 {
		d.drawBuckets(total, bucket, buckets, loc)
		d.WriteString("\n")
	}
	d.drawFigures(total)
	return d.String()
}

func (d *drawing) drawBuckets(total presence.Summary, bucket string, buckets []presence.Bucket, loc *time.Location) {
	head, layout := bucketLabel(bucket)
	labels, parts := make([]string, len(buckets)), make([]presence.Summary, len(buckets))
	for i, k := range buckets {
		labels[i], parts[i] = k.Start.In(loc).Format(layout), k.Summary
	}
	d.drawRangeInZone(buckets[0].Start.In(loc), buckets[len(buckets)-1].End.In(loc))
	d.drawSummaries(head, labels, parts, &total)
}

// drawRangeInZone writes the range of a table and from's time zone.
func (d *drawing) drawRangeInZone(from, to time.Time) {
	d.drawRange(from, to.In(from.Location()))
	d.WriteString(d.paint(dimGrey, zoneName(from)) + "\n\n")
}

// drawSummaries writes a table of summaries, each with a label and a bar, and their total if there is one.
func (d *drawing) drawSummaries(head string, labels []string, parts []presence.Summary, total *presence.Summary) {
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
	space := d.Width - tableWidth - 2

	d.WriteString(d.paint(bold, lines[0]) + "\n")
	for i, s := range parts {
		line := lines[i+1]
		if s.InChat.Seconds > 0 && space >= minBar {
			line += strings.Repeat(" ", tableWidth-utf8.RuneCountInString(line)+2) + d.summaryBar(s, longest, space)
		}
		d.WriteString(line + "\n")
	}
	if total != nil {
		d.WriteString(d.paint(bold, lines[len(lines)-1]) + "\n")
	}
	if longest > 0 && space >= minBar {
		d.WriteString("\n" + d.paint(cyan, "█") + " typing or recording  " + d.paint(green, "░") + " in chat without\n")
	}
}

// summaryRow returns a label, then a count and a duration for each measure.
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

// minBar is the minimum width of bars.
const minBar = 4

// summaryBar draws the time in the chat; longest takes all the space. Every time above 0 gets a column, so that short times are
// visible.
func (d *drawing) summaryBar(s presence.Summary, longest float64, space int) string {
	columns := max(1, int(math.Round(s.InChat.Seconds/longest*float64(space))))
	hands := s.Typing.Seconds + s.Recording.Seconds
	solid := min(columns, int(math.Round(hands/s.InChat.Seconds*float64(columns))))
	if hands > 0 {
		solid = max(1, solid)
	}
	return d.paint(cyan, strings.Repeat("█", solid)) + d.paint(green, strings.Repeat("░", columns-solid))
}

// bucketLabel returns the label of buckets and the layout of their starts.
func bucketLabel(bucket string) (label, layout string) {
	switch bucket {
	case "hour":
		return "Hour", "Mon _2 Jan 15:04"
	case "day":
		return "Day", "Mon _2 Jan"
	case "week":
		return "Week of", "Mon _2 Jan"
	default:
		return "Month", "Jan 2006"
	}
}

// drawFigures writes the figures of a Summary, a column for each of its three kinds.
func (d *drawing) drawFigures(total presence.Summary) {
	rows := [][]string{{"", "Typing", "Recording", "In chat"}, {"Count"}, {"Length"}, {"Confirmed"}, {"Mean"}, {"Median"}, {"P90"}, {"Longest"}}
	for _, k := range []presence.Durations{total.Typing, total.Recording, total.InChat} {
		rows[1] = append(rows[1], Count(k.Count))
		for i, s := range []*float64{&k.Seconds, &k.ConfirmedSeconds, k.MeanSeconds, k.MedianSeconds, k.P90Seconds, k.MaxSeconds} {
			length := "–"
			if s != nil {
				length = Length(*s)
			}
			rows[2+i] = append(rows[2+i], length)
		}
	}
	lines := align(rows, 0)
	lines[0] = d.paint(bold, lines[0])
	d.WriteString(strings.Join(lines, "\n") + "\n")
}
