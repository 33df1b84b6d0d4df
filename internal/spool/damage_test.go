package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// segment returns the bytes of a segment with the records, and where each ends.
func segment(t testing.TB, records []string) (content []byte, ends []int) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, plenty)
	at := 0
	for _, r := range records {
		appendAll(t, s, r)
		at += headerBytes + len(r)
		ends = append(ends, at)
	}
	s.Close()
	content, err := os.ReadFile(files(t, dir, ".log")[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(content) != at {
		t.Fatalf("the segment has %d bytes, not %d", len(content), at)
	}
	return content, ends
}

// withSegment opens a spool that holds a segment of these bytes.
func withSegment(t testing.TB, dir string, content []byte) (s *Spool, log func() string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "0"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0", "000000000001.log"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	l, log := testLog()
	s, err := Open(dir, plenty, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, log
}

func TestTruncationAtEveryByte(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	whole := len(someRecords) - 1
	for cut := ends[whole-1]; cut < len(content); cut++ {
		dir := t.TempDir()
		s, log := withSegment(t, dir, content[:cut])
		appendAll(t, s, "new") // never after the truncated record
		if got := drain(t, s); !slices.Equal(got, append(slices.Clone(someRecords[:whole]), "new")) {
			t.Errorf("cut at %d: read %q", cut, got)
		}
		bad := files(t, dir, ".bad")
		if torn := cut > ends[whole-1]; torn != (len(bad) == 1) || torn != strings.Contains(log(), "level=WARN") {
			t.Errorf("cut at %d: set aside %v, and the log says %q", cut, bad, log())
		}
		if len(bad) == 1 {
			kept, err := os.ReadFile(bad[0])
			if err != nil || !bytes.Equal(kept, content[ends[whole-1]:cut]) {
				t.Errorf("cut at %d: set aside %q (%v)", cut, kept, err)
			}
		}
		s.Close()
	}
}

func TestFlippedBitLosesOneRecord(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	for at := range content {
		damaged := slices.Clone(content)
		damaged[at] ^= 1 << (at % 8)
		hit, _ := slices.BinarySearch(ends, at+1)
		records, bad := parse(damaged)
		want := slices.Delete(slices.Clone(someRecords), hit, hit+1)
		if got := toStrings(records); !slices.Equal(got, want) {
			t.Errorf("a flip at %d in record %d left %q", at, hit, got)
		}
		start := 0
		if hit > 0 {
			start = ends[hit-1]
		}
		if len(bad) != 1 || bad[0].offset != start || !bytes.Equal(bad[0].bytes, damaged[start:ends[hit]]) {
			t.Errorf("a flip at %d in record %d set aside %v", at, hit, bad)
		}
	}
}

func TestDamageIsSetAsideOnce(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	content[ends[1]+headerBytes] ^= 1
	dir := t.TempDir()
	s, log := withSegment(t, dir, content)
	for range 3 { // as while the database is unavailable
		if seg, err := s.Oldest(); err != nil || len(seg.Records) != len(someRecords)-1 {
			t.Fatalf("read %v (%v)", seg, err)
		}
	}
	if n := strings.Count(log(), "is corrupt"); n != 1 || len(files(t, dir, ".bad")) != 1 {
		t.Errorf("reported %d times, set aside: %v", n, files(t, dir, ".bad"))
	}
	drain(t, s)
	s.Close()

	// The next process does not reuse a name under which something was set aside.
	s = open(t, dir, plenty)
	appendAll(t, s, "new")
	if names := files(t, dir, ".log"); len(names) != 1 || filepath.Base(names[0]) == "000000000001.log" {
		t.Errorf("the new segment is %v", names)
	}
	kept, err := os.ReadFile(files(t, dir, ".bad")[0])
	if err != nil || !bytes.Equal(kept, content[ends[1]:ends[2]]) {
		t.Errorf("set aside was %q (%v)", kept, err)
	}
}

func TestSegmentStaysIfSettingAsideFails(t *testing.T) {
	t.Parallel()
	content, _ := segment(t, someRecords)
	content[headerBytes] ^= 1
	dir := t.TempDir()
	s, _ := withSegment(t, dir, content)
	// The name is in use.
	if err := os.MkdirAll(filepath.Join(dir, "0", "000000000001-0.bad", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, s); !slices.Equal(got, someRecords[1:]) {
		t.Errorf("read %q", got)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "0", "000000000001.bad"))
	if err != nil || !bytes.Equal(kept, content) {
		t.Errorf("the segment is gone: %v", err)
	}
}

// FuzzParse checks that for any content, records and bad ranges together are the file, in order, and that a whole record
// after any bytes is found.
func FuzzParse(f *testing.F) {
	content, ends := segment(f, someRecords)
	f.Add(content)
	f.Add(content[ends[0]-1:])
	f.Add(append(slices.Clone(content[:ends[1]+3]), content...))
	f.Add([]byte("PLS1"))
	f.Add(bytes.Repeat([]byte("PLS1\x00\x00\x00\x01"), 5))
	one := content[:ends[0]]
	f.Fuzz(func(t *testing.T, content []byte) {
		records, bad := parse(content)
		size := 0
		for _, r := range records {
			size += headerBytes + len(r)
		}
		for i, b := range bad {
			size += len(b.bytes)
			if len(b.bytes) == 0 || !bytes.Equal(b.bytes, content[b.offset:b.offset+len(b.bytes)]) {
				t.Errorf("a bad part that is not in the file: %v", b)
			}
			if b.torn != (i == len(bad)-1 && b.offset+len(b.bytes) == len(content)) {
				t.Errorf("torn is %v at %d of %d bytes", b.torn, b.offset, len(content))
			}
		}
		if size != len(content) {
			t.Errorf("%d of %d bytes are accounted for", size, len(content))
		}
		// It is found, or is inside a record that begins earlier and whose checksum happens to match.
		if more, _ := parse(append(slices.Clone(content), one...)); len(more) <= len(records) {
			t.Errorf("a record behind %q is not found", content)
		}
	})
}
