package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// lock is held by the process that runs the server of a directory. The kernel releases it when that process ends.
type lock struct {
	f      *os.File
	guests *os.File // shared by brief guests, then exclusive to an owner that stops
}

const lockName = "postgres.lock"

func openLock(dir string) (*lock, error) {
	// The files are never removed: otherwise two processes could lock the removed and a new file.
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	guests, err := os.OpenFile(filepath.Join(dir, "postgres.guests"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the lock of guests: %w", err), f.Close())
	}
	return &lock{f, guests}, nil
}

func (l *lock) name() string { return l.f.Name() }

// try locks without waiting and reports whether it could.
func (l *lock) try() (bool, error) {
	ok, err := flock(l.f, false)
	if err != nil {
		return false, fmt.Errorf("lock %s: %w (the data directory must be on a file system with flock)", l.name(), err)
	}
	return ok, nil
}

// wait locks as soon as the lock is free. It polls, because a blocking flock cannot be cancelled; an attempt takes about a
// microsecond.
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
		if err := sleep(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
}

// join makes the owner wait for this process. It returns false if the owner is about to stop the server.
func (l *lock) join() (bool, error) { return flock(l.guests, true) }

// alone reports whether there are no brief guests. If so, none can join until the lock is closed.
func (l *lock) alone() (bool, error) { return flock(l.guests, false) }

func (l *lock) close() error { return errors.Join(l.f.Close(), l.guests.Close()) }
