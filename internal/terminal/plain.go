package terminal

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// PlainTimeline writes a line of names and a line for each span, tab-separated: what a pipe gets. Times are RFC 3339 in UTC,
// lengths seconds; end is empty while a span runs. The only errors are w's.
func PlainTimeline(w io.Writer, spans []presence.Span) error {
	var b bytes.Buffer
	b.WriteString("status\tstart\tend\tseconds\tconfirmedSeconds\tevents\tendedBy\n")
	for _, s := range spans {
		end := ""
		if s.End != nil {
			end = plainTime(*s.End)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n",
			s.Status, plainTime(s.Start), end, plainSeconds(&s.Seconds), plainSeconds(&s.ConfirmedSeconds), s.Events, s.EndedBy)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// PlainDurations writes a line of names and three lines, for typing, recording and inChat, for the total over [from, to) and
// for each bucket, tab-separated. Times and lengths are as in PlainTimeline; a figure of nothing is empty. The only errors
// are w's.
func PlainDurations(w io.Writer, total presence.Summary, buckets []presence.Bucket, from, to time.Time) error {
	var b bytes.Buffer
	b.WriteString("part\tstart\tend\tkind\tcount\tseconds\tconfirmedSeconds\tmeanSeconds\tmedianSeconds\tp90Seconds\tmaxSeconds\n")
	plainSummary(&b, "total", from, to, total)
	for _, k := range buckets {
		plainSummary(&b, "bucket", k.Start, k.End, k.Summary)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// PlainComparison writes a line of names and three lines, for typing, recording and inChat, for each contact, as
// PlainDurations does. The only errors are w's.
func PlainComparison(w io.Writer, contacts []presence.ContactSummary, from, to time.Time) error {
	var b bytes.Buffer
	b.WriteString("phone\tstart\tend\tkind\tcount\tseconds\tconfirmedSeconds\tmeanSeconds\tmedianSeconds\tp90Seconds\tmaxSeconds\n")
	for _, c := range contacts {
		plainSummary(&b, c.Phone, from, to, c.Summary)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// PlainTop writes a line of names and a line for each contact, tab-separated. The only errors are w's.
func PlainTop(w io.Writer, contacts []presence.Rank) error {
	var b bytes.Buffer
	b.WriteString("phone\tcount\tseconds\tconfirmedSeconds\n")
	for _, c := range contacts {
		fmt.Fprintf(&b, "%s\t%d\t%s\t%s\n", c.Phone, c.Count, plainSeconds(&c.Seconds), plainSeconds(&c.ConfirmedSeconds))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// PlainHeatmap writes a line of names and a line for each hour of the week, tab-separated. The only errors are w's.
func PlainHeatmap(w io.Writer, cells []presence.Heat) error {
	var b bytes.Buffer
	b.WriteString("weekday\thour\tcount\tseconds\tconfirmedSeconds\n")
	for _, c := range cells {
		fmt.Fprintf(&b, "%d\t%d\t%d\t%s\t%s\n", c.Weekday, c.Hour, c.Count, plainSeconds(&c.Seconds), plainSeconds(&c.ConfirmedSeconds))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func plainSummary(b *bytes.Buffer, part string, start, end time.Time, s presence.Summary) {
	for _, kind := range []struct {
		name string
		d    presence.Durations
	}{{"typing", s.Typing}, {"recording", s.Recording}, {"inChat", s.InChat}} {
		d := kind.d
		fields := []string{part, plainTime(start), plainTime(end), kind.name, strconv.FormatInt(d.Count, 10)}
		for _, f := range []*float64{&d.Seconds, &d.ConfirmedSeconds, d.MeanSeconds, d.MedianSeconds, d.P90Seconds, d.MaxSeconds} {
			fields = append(fields, plainSeconds(f))
		}
		b.WriteString(strings.Join(fields, "\t") + "\n")
	}
}

func plainTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// plainSeconds rounds to the microsecond, the precision of all times.
func plainSeconds(s *float64) string {
	if s == nil {
		return ""
	}
	return strconv.FormatFloat(math.Round(*s*1e6)/1e6, 'f', -1, 64)
}
