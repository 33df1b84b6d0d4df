package embedded

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installation copies PostgreSQL to where a test may change it. Its programs look for their other files beside them.
func installation(t *testing.T) (bin string) {
	t.Helper()
	found, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	root := openTemp(t)
	share, err := filepath.Glob("/usr/share/postgresql/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(share, filepath.Dir(found)) {
		to := filepath.Join(root, dir)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	bin = filepath.Join(root, found)
	for _, program := range []string{"initdb", "postgres"} {
		if err := os.Chmod(filepath.Join(bin, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// After an upgrade of its package, a running server cannot load what new connections need.
func TestServerIsRestartedAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	bin := installation(t)
	dir := openTemp(t)
	s, err := Open(t.Context(), dir, Options{Bin: bin, Settings: fast, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	mustQuery(t, s.ConnString(), "CREATE TABLE t AS SELECT 'kept' AS v")
	before := serverPid(t, dir)

	program := filepath.Join(bin, "postgres")
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, program+".new", content)
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is restarted", func() error {
		if pf := (&cluster{dir: dir}).readPidFile(); pf.pid == 0 || pf.pid == before || !pf.ready() {
			return errors.New("the old one runs")
		}
		return nil
	})
	if got := mustQuery(t, s.ConnString(), "SELECT v FROM t"); !strings.Contains(got, "kept") {
		t.Errorf("after the upgrade: %s", got)
	}
}
