package embedded

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// watchInterval is the time between two checks of the programs of a running server.
const watchInterval = 2 * time.Second

// watchProgram closes replaced after an upgrade of PostgreSQL's package: when the program is another file, and the same one in
// the last two checks, since an upgrade replaces many files.
func (c *cluster) watchProgram() (replaced <-chan struct{}, stop func()) {
	ctx, stop := context.WithCancel(context.Background())
	found := make(chan struct{})
	path := filepath.Join(c.bin, "postgres")
	started, _ := os.Stat(path)
	go func() {
		defer stop()
		for last := started; sleep(ctx, watchInterval) == nil; {
			now, err := os.Stat(path)
			if err == nil && !sameFile(now, started) && sameFile(now, last) && c.command(ctx, 0, path, "--version").Run() == nil {
				close(found)
				return
			}
			last = now
		}
	}()
	return found, stop
}

func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
