// Package spool keeps records in files while the database is away: append-only segments in a directory, each record with
// its length and a CRC-32C, one fsync for all that are appended together. What the records mean is not its business.
//
// Nothing is deleted but segments whose records the caller has put away (Remove). What cannot be read after a crash or a
// fault of the disk is set aside in files named *.bad, and the rest goes on.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrFull says that the spool has reached its bound.
var ErrFull = errors.New("the spool is full")

const (
	segmentBytes = 8 << 20
	maxRecord    = 1 << 20
	headerBytes  = 12 // magic, length of the payload, CRC of length and payload
)

var (
	magic      = [4]byte{'P', 'L', 'S', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Spool is one writer's spool. Its methods may be called by several goroutines.
type Spool struct {
	dir  string
	max  int64
	log  *slog.Logger
	lock *os.File

	mu     sync.Mutex
	active *os.File       // nil until something is appended
	number int64          // of the active or last segment
	length int64          // of the active segment
	parts  map[int64]part // the segments by their numbers
}

type part struct {
	bytes int64
	began time.Time
}

// Open takes a spool below dir: the first of dir/0, dir/1, … that no other process has. It may hold segments of a process
// that ended; max bounds its bytes.
func Open(dir string, max int64, log *slog.Logger) (*Spool, error) {
	for n := 0; ; n++ {
		s, err := openOne(filepath.Join(dir, fmt.Sprint(n)), max, log)
		if !errors.Is(err, errTaken) {
			return s, err
		}
	}
}

// Abandoned opens the spools beside s that hold segments and have no process any more. The caller empties and closes them.
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

var errTaken = errors.New("another process has this spool")

func openOne(dir string, max int64, log *slog.Logger) (*Spool, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("making the spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errTaken
		}
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	s := &Spool{dir: dir, max: max, log: log, lock: lock, parts: map[int64]part{}}
	if err := s.scan(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// makeDir makes a directory that stays after a loss of power, with those above it that are missing.
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
		s.number = max(s.number, n) // also of what was set aside, whose name must not come again
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

func (s *Spool) path(n int64) string { return filepath.Join(s.dir, fmt.Sprintf("%012d.log", n)) }

// Close lets go of the spool; its segments stay.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endSegment()
	_ = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN) // closing is not enough while a program that is being started has a copy
	return s.lock.Close()
}

// Append makes records durable, all or none: when it returns nil they are on the disk. The error is ErrFull or that of
// the disk; then the records may be found again after a crash all the same.
func (s *Spool) Append(records [][]byte) error {
	var b []byte
	for _, payload := range records {
		if len(payload) > maxRecord {
			return fmt.Errorf("a record of %d bytes is too large for the spool", len(payload))
		}
		b = append(b, magic[:]...)
		start := len(b)
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, payload)
		b = binary.BigEndian.AppendUint32(b, sum)
		b = append(b, payload...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes()+int64(len(b)) > s.max {
		return ErrFull
	}
	if err := s.startSegment(); err != nil {
		return err
	}
	_, err := s.active.WriteAt(b, s.length)
	if err == nil {
		err = s.active.Sync()
	}
	if err != nil {
		// What was written in part must not stand before what comes next; and after a failed fsync nobody knows what the
		// file holds, so the next records go to another one.
		_ = s.active.Truncate(s.length)
		s.endSegment()
		return fmt.Errorf("writing to the spool: %w", err)
	}
	s.length += int64(len(b))
	s.parts[s.number] = part{s.length, s.parts[s.number].began}
	if s.length >= segmentBytes {
		s.endSegment()
	}
	return nil
}

func (s *Spool) startSegment() error {
	if s.active != nil {
		return nil
	}
	f, err := os.OpenFile(s.path(s.number+1), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("starting a segment of the spool: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		f.Close()
		os.Remove(f.Name())
		return fmt.Errorf("starting a segment of the spool: %w", err)
	}
	s.number++
	s.active, s.length = f, 0
	s.parts[s.number] = part{0, time.Now()}
	return nil
}

func (s *Spool) endSegment() {
	if s.active != nil {
		s.active.Close()
		if s.length == 0 {
			os.Remove(s.path(s.number))
			delete(s.parts, s.number)
		}
		s.active = nil
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (s *Spool) bytes() (sum int64) {
	for _, p := range s.parts {
		sum += p.bytes
	}
	return sum
}

// Bytes returns the bytes of all segments; no spool has none.
func (s *Spool) Bytes() int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes()
}

// Segment is a part of the spool that nothing is appended to any more.
type Segment struct {
	Records [][]byte // in the order in which they were appended
	number  int64
	keep    bool // not all of it could be read or set aside
}

// Oldest returns the oldest segment, or nil if the spool is empty. What can't be read in it is reported and set aside.
func (s *Spool) Oldest() (*Segment, error) {
	s.mu.Lock()
	if len(s.parts) == 0 {
		s.mu.Unlock()
		return nil, nil
	}
	numbers := make([]int64, 0, len(s.parts))
	for n := range s.parts {
		numbers = append(numbers, n)
	}
	oldest := slices.Min(numbers)
	if oldest == s.number {
		s.endSegment()
	}
	s.mu.Unlock()

	content, unreadable, err := readFile(s.path(oldest))
	if errors.Is(err, fs.ErrNotExist) {
		s.forget(oldest) // it was empty
		return s.Oldest()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	records, bad := parse(content)
	seg := &Segment{Records: records, number: oldest, keep: unreadable}
	for _, b := range bad {
		if err := s.setAside(oldest, b); err != nil {
			s.log.Error("setting aside what could not be read in the spool; its whole segment will be kept", "segment", oldest, "error", err)
			seg.keep = true
		}
	}
	return seg, nil
}

// readFile reads a file, with zeros where the disk cannot.
func readFile(name string) (content []byte, unreadable bool, err error) {
	const sector = 4096
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	content = make([]byte, info.Size())
	for at := 0; at < len(content); {
		n, err := f.ReadAt(content[at:], int64(at))
		at += n
		switch {
		case errors.Is(err, syscall.EIO):
			unreadable = true
			at = (at/sector + 1) * sector
		case errors.Is(err, io.EOF): // it has become shorter
			return content[:at], unreadable, nil
		case err != nil:
			return nil, false, err
		}
	}
	return content, unreadable, nil
}

// Remove deletes a segment whose records are safe elsewhere. One that held what is nowhere else is set aside instead.
func (s *Spool) Remove(seg *Segment) error {
	away := os.Remove
	if seg.keep {
		away = func(name string) error { return os.Rename(name, strings.TrimSuffix(name, ".log")+".bad") }
	}
	if err := away(s.path(seg.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a segment of the spool: %w", err)
	}
	s.forget(seg.number)
	return nil
}

func (s *Spool) forget(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, n)
}

type badRange struct {
	offset int
	bytes  []byte
	torn   bool // no record follows: most likely an append that a crash cut short
}

// parse finds every whole record, whatever stands between.
func parse(content []byte) (records [][]byte, bad []badRange) {
	from := 0
	for at := 0; at < len(content); {
		payload, ok := recordAt(content[at:])
		if !ok {
			at++
			continue
		}
		if from < at {
			bad = append(bad, badRange{offset: from, bytes: content[from:at]})
		}
		records = append(records, payload)
		at += headerBytes + len(payload)
		from = at
	}
	if from < len(content) {
		bad = append(bad, badRange{offset: from, bytes: content[from:], torn: true})
	}
	return records, bad
}

func recordAt(b []byte) ([]byte, bool) {
	if len(b) < headerBytes || [4]byte(b[:4]) != magic {
		return nil, false
	}
	size := binary.BigEndian.Uint32(b[4:])
	if size > maxRecord || int(size) > len(b)-headerBytes {
		return nil, false
	}
	payload := b[headerBytes : headerBytes+int(size)]
	sum := crc32.Update(crc32.Checksum(b[4:8], castagnoli), castagnoli, payload)
	return payload, sum == binary.BigEndian.Uint32(b[8:])
}

// setAside keeps bytes that could not be read, once, for somebody to look at.
func (s *Spool) setAside(n int64, b badRange) error {
	name := filepath.Join(s.dir, fmt.Sprintf("%012d-%d.bad", n, b.offset))
	if info, err := os.Stat(name); err == nil && info.Size() == int64(len(b.bytes)) {
		return nil
	}
	if err := writeFile(name, b.bytes); err != nil {
		os.Remove(name)
		return err
	}
	if b.torn {
		s.log.Warn("the end of a segment of the spool was cut, as after a crash", "bytes", len(b.bytes), "kept in", name)
		return nil
	}
	s.log.Error("a part of the spool is corrupt", "bytes", len(b.bytes), "kept in", name)
	return nil
}

// writeFile writes a file that stays after a loss of power.
func writeFile(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// Bad returns how many parts of the spool were set aside so far.
func (s *Spool) Bad() int {
	names, _ := filepath.Glob(filepath.Join(s.dir, "*.bad"))
	return len(names)
}

// Since returns when the oldest segment was begun, or the zero time if the spool is empty.
func (s *Spool) Since() (oldest time.Time) {
	if s == nil {
		return oldest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		if oldest.IsZero() || p.began.Before(oldest) {
			oldest = p.began
		}
	}
	return oldest
}
