package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const binVar = "PRESENCELOG_POSTGRES_BIN"

var errNotFound = errors.New("found no PostgreSQL: install it (apt-get install postgresql, or brew install postgresql@17), set " + binVar + " to the directory that has initdb and postgres, or set DATABASE_URL to a running server")

// Find returns the absolute path of a directory that has initdb and postgres: the one in the environment variable
// PRESENCELOG_POSTGRES_BIN, which must be valid if it is set, or else the first of
//
//   - that of initdb in PATH,
//   - what `pg_config --bindir` says,
//   - Debian's, the newest major version first,
//   - Homebrew's, the newest first,
//   - that of Postgres.app,
//   - the npm package [FindNPM] returns, if npm is in PATH.
//
// If there is none, the error says what to install.
func Find(ctx context.Context, cacheDir string, log *slog.Logger) (bin string, err error) {
	if dir := os.Getenv(binVar); dir != "" {
		if err := checkBin(dir); err != nil {
			return "", fmt.Errorf("%s: %w", binVar, err)
		}
		return filepath.Abs(dir)
	}
	bin, _, err = findVersion(ctx, cacheDir, "", log)
	return bin, err
}

// findVersion is Find for one major version; "" means any. If it is not installed, others are the installed versions.
func findVersion(ctx context.Context, cacheDir, version string, log *slog.Logger) (bin string, others []string, err error) {
	dirs := installed(ctx)
	if dir := os.Getenv(binVar); dir != "" {
		dirs = slices.Insert(dirs, 0, dir)
	}
	for _, dir := range dirs {
		v, err := binVersion(ctx, dir)
		if err != nil {
			continue
		}
		if version == "" || v == version {
			bin, err := filepath.Abs(dir)
			return bin, nil, err
		}
		if other := v + " (" + dir + ")"; !slices.Contains(others, other) {
			others = append(others, other)
		}
	}
	if ctx.Err() != nil { // the programs may not have run
		return "", others, context.Cause(ctx)
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return "", others, errNotFound
	}
	if version != "" && version != npmMajor {
		return "", append(others, npmMajor+" (from npm)"), errNotFound
	}
	if bin, err = FindNPM(ctx, cacheDir, log); err != nil && version == "" {
		err = fmt.Errorf("%w (%w)", errNotFound, err)
	}
	return bin, others, err
}

// installed returns directories that may have PostgreSQL's programs.
func installed(ctx context.Context) (dirs []string) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// A directory with links may not have postgres.
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

// systemDirs are patterns of the directories of Debian's packages, Homebrew (on ARM and Intel) and Postgres.app.
var systemDirs = []string{
	"/usr/lib/postgresql/*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/latest/bin",
}

// newestFirst returns the matches of a pattern, ordered by the last number in them.
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

// binVersion returns the major version of the programs in a directory, such as "17".
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
