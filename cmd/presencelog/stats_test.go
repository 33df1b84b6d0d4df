package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// TestStatsOfLargeTables: sizes of more than 2 GiB, here of files with holes. They are taken away again, since the check at the
// end of the test reads the table.
func TestStatsOfLargeTables(t *testing.T) {
	t.Parallel()
	if os.Getenv("TEST_DATABASE_URL") != "" {
		t.Skip("needs the server's files")
	}
	pool := pgtest.New(t)
	var dir, file string
	const sql = "SELECT current_setting('data_directory'), pg_relation_filepath('interval_sums')"
	if err := pool.QueryRow(t.Context(), sql).Scan(&dir, &file); err != nil {
		t.Fatal(err)
	}
	const segment = 1 << 30 // PostgreSQL divides tables into files of this size
	first := filepath.Join(dir, file)
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(os.Truncate(first, before.Size()), os.Remove(first+".1"), os.Remove(first+".2")); err != nil {
			t.Error(err)
		}
	}()
	for _, suffix := range []string{"", ".1", ".2"} {
		f, err := os.OpenFile(first+suffix, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(segment), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.New(pool).Stats(t.Context())
	if err != nil || s.IntervalBytes < 3*segment {
		t.Errorf("intervals take %d bytes (%v)", s.IntervalBytes, err)
	}
}
