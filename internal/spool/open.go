package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Open locks the first of the spools dir/0, dir/1, … that no other process uses, and creates it if necessary. It may have
// segments of a process that ended. It accepts at most max bytes.
func Open(dir string, max int64, log *slog.Logger) (*Spool, error) {
	for n := 0; ; n++ {
		own := filepath.Join(dir, fmt.Sprint(n))
		s, err := openOne(own, max, log)
		if !errors.Is(err, errInUse) {
			return s, explainAccess(err, os.Geteuid(), filepath.Join(own, "lock"), own, dir)
		}
	}
}

// Abandoned opens the other spools in the same directory that have segments and that no process uses. The caller drains and
// closes them.
func (s *Spool) Abandoned() []*Spool {
	entries, err := os.ReadDir(filepath.Dir(s.dir))
	if err != nil {
		return nil
	}
	var found []*Spool
	for _, e := range entries {
		path := filepath.Join(filepath.Dir(s.dir), e.Name())
		if path == s.dir || !e.IsDir() {
			continue
		}
		if other, err := openOne(path, s.max, s.log); err == nil {
			if other.Bytes() > 0 {
				found = append(found, other)
			} else {
				other.Close()
			}
		}
	}
	return found
}

var errInUse = errors.New("another process uses this spool")

func openOne(dir string, max int64, log *slog.Logger) (*Spool, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("creating the spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	if err := tryLock(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	s := &Spool{dir: dir, max: max, log: log, lock: lock, parts: map[int64]part{}}
	if err := s.scan(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// makeDir creates a directory, with its missing parents, so that it survives a power failure.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func (s *Spool) scan() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("reading the spool: %w", err)
	}
	for _, e := range entries {
		var n int64
		if _, err := fmt.Sscanf(e.Name(), "%d", &n); err != nil {
			continue
		}
		s.number = max(s.number, n) // including files set aside, so that names are not reused
		if strings.HasSuffix(e.Name(), ".log") {
			info, err := e.Info()
			if err != nil {
				return err
			}
			s.parts[n] = part{info.Size(), info.ModTime()}
		}
	}
	return nil
}
