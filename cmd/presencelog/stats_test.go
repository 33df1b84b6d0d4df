package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// TestStatsOfLargeTables: sizes of more than 2 GiB, here of files with holes.
func TestStatsOfLargeTables(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var dir, file string
	const sql = "SELECT current_setting('data_directory'), pg_relation_filepath('interval_sums')"
	if err := pool.QueryRow(t.Context(), sql).Scan(&dir, &file); err != nil {
		t.Fatal(err)
	}
	const segment = 1 << 30 // PostgreSQL divides tables into files of this size
	for _, suffix := range []string{"", ".1", ".2"} {
		f, err := os.OpenFile(filepath.Join(dir, file+suffix), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(segment); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.New(pool).Stats(t.Context())
	if err != nil || s.IntervalBytes < 3*segment {
		t.Errorf("intervals take %d bytes (%v)", s.IntervalBytes, err)
	}
}
