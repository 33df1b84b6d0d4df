package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// lock is the right to run the server of a directory. The kernel gives it back
// when the process that holds it ends, however it ends.
type lock struct{ f *os.File }

func openLock(path string) (*lock, error) {
	// The file is never removed: two processes could hold locks on a removed
	// and a new one at the same time.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	return &lock{f}, nil
}

func (l *lock) name() string { return l.f.Name() }

// try takes the lock if nobody else has it and reports whether it did.
func (l *lock) try() (bool, error) {
	ok, err := flock(l.f)
	if err != nil {
		return false, fmt.Errorf("lock %s: %w (the data directory must be on a file system with flock)", l.name(), err)
	}
	return ok, nil
}

// wait takes the lock as soon as it is free. It polls, because a blocking flock
// cannot be cancelled; a failed attempt costs about a microsecond.
func (l *lock) wait(ctx context.Context, log *slog.Logger) error {
	var last string
	for {
		ok, err := l.try()
		if ok {
			return nil
		}
		if err != nil && err.Error() != last {
			last = err.Error()
			log.Error("cannot wait for the lock of PostgreSQL; trying again", "error", err)
		}
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
}

func (l *lock) close() error { return l.f.Close() }
