package terminal

import (
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/table"
)

// Plain returns a line of names and a line for each row, tab-separated, for pipes. The rows are those of the API's CSV.
func Plain[R any](rows []R) string {
	var b strings.Builder
	b.WriteString(strings.Join(table.Names[R](), "\t") + "\n")
	for _, row := range rows {
		b.WriteString(strings.Join(table.Cells(row, Text), "\t") + "\n")
	}
	return b.String()
}

// measureRow has the durations of one measure in a range.
type measureRow struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Measure string    `json:"measure"`
	presence.Durations
}

func measureRows(start, end time.Time, s presence.Summary) []measureRow {
	start, end = start.UTC(), end.UTC()
	return []measureRow{{start, end, "typing", s.Typing}, {start, end, "recording", s.Recording}, {start, end, "inChat", s.InChat}}
}

// PlainDurations is Plain with a row per measure, for the total over [from, to) and for each bucket.
func PlainDurations(total presence.Summary, buckets []presence.Bucket, from, to time.Time) string {
	type row struct {
		Part string `json:"part"`
		measureRow
	}
	var rows []row
	for _, m := range measureRows(from, to, total) {
		rows = append(rows, row{"total", m})
	}
	for _, b := range buckets {
		for _, m := range measureRows(b.Start, b.End, b.Summary) {
			rows = append(rows, row{"bucket", m})
		}
	}
	return Plain(rows)
}

// PlainComparison is Plain with a row per measure, for each contact over [from, to).
func PlainComparison(contacts []presence.ContactSummary, from, to time.Time) string {
	type row struct {
		Phone string `json:"phone"`
		measureRow
	}
	var rows []row
	for _, c := range contacts {
		for _, m := range measureRows(from, to, c.Summary) {
			rows = append(rows, row{c.Phone, m})
		}
	}
	return Plain(rows)
}
