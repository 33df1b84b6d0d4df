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

// kindRow has the durations of one measure in a range.
type kindRow struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Kind  string    `json:"kind"`
	presence.Durations
}

func kindRows(start, end time.Time, s presence.Summary) []kindRow {
	start, end = start.UTC(), end.UTC()
	return []kindRow{{start, end, "typing", s.Typing}, {start, end, "recording", s.Recording}, {start, end, "inChat", s.InChat}}
}

// PlainDurations is Plain with a row per measure, for the total over [from, to) and for each bucket.
func PlainDurations(total presence.Summary, buckets []presence.Bucket, from, to time.Time) string {
	type row struct {
		Part string `json:"part"`
		kindRow
	}
	var rows []row
	for _, k := range kindRows(from, to, total) {
		rows = append(rows, row{"total", k})
	}
	for _, b := range buckets {
		for _, k := range kindRows(b.Start, b.End, b.Summary) {
			rows = append(rows, row{"bucket", k})
		}
	}
	return Plain(rows)
}

// PlainComparison is Plain with a row per measure, for each contact over [from, to).
func PlainComparison(contacts []presence.ContactSummary, from, to time.Time) string {
	type row struct {
		Phone string `json:"phone"`
		kindRow
	}
	var rows []row
	for _, c := range contacts {
		for _, k := range kindRows(from, to, c.Summary) {
			rows = append(rows, row{c.Phone, k})
		}
	}
	return Plain(rows)
}
