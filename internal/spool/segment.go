package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Segment is a complete file of the spool.
type Segment struct {
	Records [][]byte // in the order in which they were appended
	number  int64
	keep    bool // a part could neither be read nor set aside
}

// Oldest returns the oldest segment, or nil if the spool is empty. Invalid bytes in it are logged and set aside.
func (s *Spool) Oldest() (*Segment, error) {
	s.mu.Lock()
	if len(s.parts) == 0 {
		s.mu.Unlock()
		return nil, nil
	}
	oldest := slices.Min(slices.Collect(maps.Keys(s.parts)))
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
		s.setAside(seg, fmt.Sprint(b.offset), b.bytes, func(name string) {
			if b.torn {
				s.log.Warn("the end of a segment of the spool is truncated, as after a crash", "bytes", len(b.bytes), "kept_in", name)
			} else {
				s.log.Error("a part of the spool is corrupt", "bytes", len(b.bytes), "kept_in", name)
			}
		})
	}
	return seg, nil
}

// readFile reads a file, with zeros for sectors that the disk cannot read.
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
		case errors.Is(err, io.EOF): // the file was truncated
			return content[:at], unreadable, nil
		case err != nil:
			return nil, false, err
		}
	}
	return content, unreadable, nil
}

// Remove deletes a segment after its records are stored elsewhere. If parts are not, it sets the segment aside.
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
	torn   bool // no record follows: probably a crash interrupted an append
}

// parse finds every complete record and skips everything else.
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

// setAside writes bytes of a segment to a file for inspection, and then calls wrote. If the file exists already, it does
// nothing. If writing fails, the segment is kept.
func (s *Spool) setAside(seg *Segment, part string, content []byte, wrote func(name string)) {
	name := filepath.Join(s.dir, fmt.Sprintf("%012d-%s.bad", seg.number, part))
	if info, err := os.Stat(name); err == nil && info.Size() == int64(len(content)) {
		return
	}
	if err := writeFile(name, content); err != nil {
		os.Remove(name)
		seg.keep = true
		s.log.Error("setting aside a part of the spool; its whole segment will be kept", "segment", seg.number, "error", err)
		return
	}
	wrote(name)
}

// SetAside writes a record that the caller cannot use to a file for inspection.
func (s *Spool) SetAside(seg *Segment, record int, reason error) {
	s.setAside(seg, fmt.Sprintf("record-%d", record), seg.Records[record], func(name string) {
		s.log.Error("a record of the spool is invalid", "reason", reason, "kept_in", name)
	})
}

// writeFile writes a file so that it survives a power failure.
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
