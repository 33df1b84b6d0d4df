package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := fakeBin(t, "17.2 (Debian 17.2-1)")
	t.Setenv(binVar, dir)
	if got, err := Find(t.Context(), t.TempDir()); err != nil || got != dir {
		t.Errorf("Find with %s=%s: %s, %v", binVar, dir, got, err)
	}
	empty := t.TempDir()
	t.Setenv(binVar, empty)
	if got, err := Find(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), binVar) || !strings.Contains(err.Error(), empty) {
		t.Errorf("Find with %s=%s: %s, %v; want an error that names both", binVar, empty, got, err)
	}
	t.Setenv(binVar, "")

	link := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "initdb"), filepath.Join(link, "initdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", link)
	if got, err := Find(t.Context(), t.TempDir()); err != nil || got != dir {
		t.Errorf("Find with a link in PATH: %s, %v; want %s", got, err, dir)
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv(binVar, "")
	t.Setenv("PATH", "")
	for _, dir := range installed(t.Context()) {
		if checkBin(dir) == nil {
			// Installed where no variable leads away from: what Find says of
			// that is all there is to see here.
			if got, err := Find(t.Context(), t.TempDir()); err != nil || got != dir {
				t.Errorf("Find: %s, %v; want %s", got, err, dir)
			}
			patterns := systemDirs
			t.Cleanup(func() { systemDirs = patterns })
			systemDirs = []string{filepath.Join(t.TempDir(), "*")}
			break
		}
	}
	_, err := Find(t.Context(), t.TempDir())
	for _, want := range []string{"apt-get install postgresql", "brew install postgresql@17", "DATABASE_URL", binVar} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Find: %v, want an error with %q", err, want)
		}
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, major := range []string{"9.6", "10", "17", "15"} {
		if err := os.MkdirAll(filepath.Join(root, major, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, dir := range newestFirst(filepath.Join(root, "*", "bin")) {
		got = append(got, filepath.Base(filepath.Dir(dir)))
	}
	if want := []string{"17", "15", "10", "9.6"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBinVersion(t *testing.T) {
	t.Parallel()
	for says, want := range map[string]string{
		"17.2 (Debian 17.2-1.pgdg120+1)": "17",
		"18.4":                           "18",
		"19beta1":                        "19",
		"9.6.24":                         "9.6",
	} {
		if got, err := binVersion(t.Context(), fakeBin(t, says)); err != nil || got != want {
			t.Errorf("%q is version %q, %v; want %q", says, got, err, want)
		}
	}
	if got, err := binVersion(t.Context(), fakeBin(t, "of unknown age")); err == nil {
		t.Errorf("no version is %q", got)
	}
}

// fakeBin returns a directory with a postgres that says which version it is.
func fakeBin(t *testing.T, version string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+name+" (PostgreSQL) "+version+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFindNPM downloads some 60 MB, so it is only run on demand.
func TestFindNPM(t *testing.T) {
	if os.Getenv("PRESENCELOG_TEST_NPM") == "" {
		t.Skip("PRESENCELOG_TEST_NPM is not set")
	}
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	cache := openTemp(t)
	bin, err := FindNPM(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), t.TempDir(), Options{Bin: bin, Settings: fast})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := mustQuery(t, s.ConnString(), "SHOW server_version"); !strings.HasPrefix(got, npmMajor+".") {
		t.Errorf("the server is PostgreSQL %s, want %s", got, npmMajor)
	}
	if again, err := FindNPM(t.Context(), cache); err != nil || again != bin {
		t.Errorf("FindNPM the second time: %s, %v; want %s", again, err, bin)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("the cache has %v, %v", entries, err)
	}
}
