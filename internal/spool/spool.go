// Package spool stores records in files for package ingest while the database is unavailable. Its append-only segments have
// each record with its length and a CRC-32C. There is one fsync per append of several records.
//
// A segment is deleted only when the caller has stored its records elsewhere (Remove). Bytes damaged by a crash or a disk fault
// are set aside in files named *.bad; the records around them remain readable.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

var ErrFull = errors.New("the spool is full")

const (
	segmentBytes = 2 << 20
	maxRecord    = 1 << 20
	headerBytes  = 12 // magic, length of the payload, CRC of length and payload
)

var (
	magic      = [4]byte{'P', 'L', 'S', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Spool is the spool of one process. Several goroutines may call its methods.
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

func (s *Spool) path(n int64) string { return filepath.Join(s.dir, fmt.Sprintf("%012d.log", n)) }

// Close unlocks the spool. Its segments stay.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endSegment()
	unlock(s.lock)
	return s.lock.Close()
}

// Append makes records durable, all or none: when it returns nil, they are on disk. The error is ErrFull or an error of the
// disk. After an error and a crash, some records may still be found.
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
		// Start another file: the next records must not follow incomplete ones, and after a failed fsync the content of the
		// file is unknown.
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

func (s *Spool) bytes() (sum int64) {
	for _, p := range s.parts {
		sum += p.bytes
	}
	return sum
}

// Bytes returns the size of all segments; 0 for a nil spool.
func (s *Spool) Bytes() int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes()
}

// Since returns when the oldest segment was started, or the zero time if the spool is empty.
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
