package archive_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/parquet-go/parquet-go"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// twoMonths stores events around the turn of a month, some of their intervals, and an event with all fields.
func twoMonths(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	from := time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC)
	traffic := simulate.Config{Seed: 1, Contacts: 50, Instances: simulate.InstanceIDs(1, 2), Location: time.UTC}
	events, err := traffic.History(from, from.AddDate(0, 0, 6), 20_000)
	if err != nil {
		t.Fatal(err)
	}
	lastSeen := int64(-5)
	odd := presence.Event{
		InstanceID: "odd", Phone: "1|2\n\"é", Status: presence.Recording, LastSeen: &lastSeen, Extra: []byte(`{"a":[1,null]}`),
		ReceivedAt: from.Add(123456 * time.Microsecond),
	}
	for _, part := range [][]presence.Event{slices.Collect(events), {odd}} {
		if _, err := ingest.NewStore(pool).Merge(t.Context(), part); err != nil {
			t.Fatal(err)
		}
		if len(part) == 1 {
			break // its intervals are not stored
		}
		if err := intervals.Refresh(t.Context(), pool, presence.Now, 0); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

func TestParquetHasAFileForEachMonthAndTable(t *testing.T) {
	// Not parallel, for SetGroupRows.
	pool := twoMonths(t)
	const groupRows = 500
	defer archive.SetGroupRows(groupRows)()
	dir := filepath.Join(t.TempDir(), "new")
	written, err := archive.ExportParquet(t.Context(), pool, dir, archive.Selection{}, nil)
	if want := pgtest.Get[int64](t, pool, "SELECT (SELECT count(*) FROM analytics.events) + (SELECT count(*) FROM analytics.intervals)"); err != nil || written != want {
		t.Fatalf("%d rows, want %d (%v)", written, want, err)
	}
	for table, column := range map[string]string{"events": "received_at", "intervals": "started_at"} {
		for month, in := range map[string]string{"2026_09": " < '2026-10-01Z'", "2026_10": " >= '2026-10-01Z'"} {
			want := pgtest.Get[int64](t, pool, "SELECT count(*) FROM analytics."+table+" WHERE "+column+in)
			path := filepath.Join(dir, table+"_"+month+".parquet")
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			info, err := file.Stat()
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
			p, err := parquet.OpenFile(file, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			if p.NumRows() != want || int64(len(p.RowGroups())) != (want+groupRows-1)/groupRows || want < groupRows {
				t.Errorf("%s has %d rows in %d groups, want %d", path, p.NumRows(), len(p.RowGroups()), want)
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("%d files (%v)", len(entries), err)
	}
}

func TestParquetOfARangeAndAnInstance(t *testing.T) {
	pool := twoMonths(t)
	dir := t.TempDir()
	from := time.Date(2026, 9, 28, 0, 0, 0, 123456000, time.UTC)
	only := archive.Selection{InstanceID: "odd", Range: history.Range{From: from, To: from.Add(time.Microsecond)}}
	if n, err := archive.ExportParquet(t.Context(), pool, dir, only, nil); err != nil || n != 3 { // an event, a recording and a visit
		t.Errorf("%d rows (%v), want 3", n, err)
	}
	_, err := archive.ExportParquet(t.Context(), pool, dir, only, nil)
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("writing to a directory that has files: %v", err)
	}
	only.Range.From, only.Range.To = only.Range.To, only.Range.To.Add(time.Hour)
	if n, err := archive.ExportParquet(t.Context(), pool, filepath.Join(dir, "none"), only, nil); err != nil || n != 0 {
		t.Errorf("%d rows (%v), want none", n, err)
	}
}
