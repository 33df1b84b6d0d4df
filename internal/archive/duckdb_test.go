//go:build duckdb

package archive_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/archive"
)

// TestDuckDBReadsParquet compares what another implementation reads with what the views say. PRESENCELOG_DUCKDB is the
// directory node_modules that has @duckdb/node-api.
func TestDuckDBReadsParquet(t *testing.T) {
	pool := twoMonths(t)
	defer archive.SetGroupRows(3000)()
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := archive.ExportParquet(t.Context(), pool, dir, archive.Selection{}, nil); err != nil {
		t.Fatal(err)
	}
	duck := func(sql string) []string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", "testdata/duckdb.js", sql)
		cmd.Env = append(os.Environ(), "NODE_PATH="+os.Getenv("PRESENCELOG_DUCKDB"), "TZ=UTC")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
	for _, test := range []struct{ table, duck, postgres string }{
		{
			"events",
			"instance_id, replace(phone, chr(10), '~'), epoch_us(received_at), status, last_seen, extra, event_id",
			"instance_id, replace(phone, chr(10), '~'), (extract(EPOCH FROM received_at) * 1000000)::bigint, status, last_seen, extra, event_id",
		},
		{
			"intervals",
			"instance_id, replace(phone, chr(10), '~'), measure, epoch_us(started_at), epoch_us(ended_at), round(seconds * 1000000)::bigint, " +
				"round(confirmed_seconds * 1000000)::bigint, events, ended_by",
			"instance_id, replace(phone, chr(10), '~'), measure, (extract(EPOCH FROM started_at) * 1000000)::bigint, " +
				"(extract(EPOCH FROM ended_at) * 1000000)::bigint, (seconds * 1000000)::bigint, (confirmed_seconds * 1000000)::bigint, events, ended_by",
		},
	} {
		got := duck("SELECT concat_ws('|', " + test.duck + ") FROM read_parquet('" + filepath.Join(dir, test.table+"_*.parquet") + "')")
		want := lines(t, pool, "SELECT concat_ws('|', "+test.postgres+") FROM analytics."+test.table)
		slices.Sort(got)
		slices.Sort(want)
		if len(want) < 3000 || !slices.Equal(got, want) {
			t.Errorf("%s: DuckDB reads %d rows, such as %q; there are %d, such as %q", test.table, len(got), got[0], len(want), want[0])
		}
	}
	want := []string{"TIMESTAMP WITH TIME ZONE"}
	if got := duck("SELECT DISTINCT typeof(received_at) FROM read_parquet('" + filepath.Join(dir, "events_*.parquet") + "')"); !slices.Equal(got, want) {
		t.Errorf("received_at is %q", got)
	}
}

func lines(t *testing.T, pool *pgxpool.Pool, sql string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}
