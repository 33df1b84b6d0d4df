package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const plenty = 1 << 30

// testLog returns a log and what reads it.
func testLog() (*slog.Logger, func() string) {
	var mu sync.Mutex
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return b.Write(p)
		}), nil)), func() string {
			mu.Lock()
			defer mu.Unlock()
			return b.String()
		}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func open(t testing.TB, dir string, max int64) *Spool {
	t.Helper()
	log, _ := testLog()
	s, err := Open(dir, max, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func appendAll(t testing.TB, s *Spool, records ...string) {
	t.Helper()
	if err := s.Append(toBytes(records)); err != nil {
		t.Fatal(err)
	}
}

func toBytes(records []string) (b [][]byte) {
	for _, r := range records {
		b = append(b, []byte(r))
	}
	return b
}

func toStrings(records [][]byte) (s []string) {
	for _, r := range records {
		s = append(s, string(r))
	}
	return s
}

// drain takes everything out of the spool.
func drain(t testing.TB, s *Spool) (records []string) {
	t.Helper()
	for {
		seg, err := s.Oldest()
		if err != nil {
			t.Fatal(err)
		}
		if seg == nil {
			return records
		}
		records = append(records, toStrings(seg.Records)...)
		if err := s.Remove(seg); err != nil {
			t.Fatal(err)
		}
	}
}

func files(t testing.TB, dir, suffix string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhatIsAppendedIsReadInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, plenty)
	if seg, err := s.Oldest(); seg != nil || err != nil || s.Bytes() != 0 || !s.Since().IsZero() {
		t.Fatalf("a new spool has %v (%v), %d bytes, since %s", seg, err, s.Bytes(), s.Since())
	}
	appendAll(t, s, "one", "two")
	appendAll(t, s, "", "three\x00PLS1\n")
	if s.Bytes() != 4*headerBytes+int64(len("onetwothree\x00PLS1\n")) || s.Since().IsZero() {
		t.Errorf("%d bytes, since %s", s.Bytes(), s.Since())
	}
	seg, err := s.Oldest()
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, "four") // goes to another segment than the one that is being read
	want := []string{"one", "two", "", "three\x00PLS1\n"}
	if got := toStrings(seg.Records); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again, err := s.Oldest(); err != nil || len(again.Records) != 4 {
		t.Errorf("a segment that was not removed is %v (%v)", again, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, plenty) // the next process
	appendAll(t, s, "five")
	if got := drain(t, s); !slices.Equal(got, append(want, "four", "five")) {
		t.Errorf("the next process finds %q", got)
	}
	if s.Bytes() != 0 || len(files(t, dir, ".log")) != 0 || s.Bad() != 0 {
		t.Errorf("left are %d bytes, %v and %d bad parts", s.Bytes(), files(t, dir, ".log"), s.Bad())
	}
}

func TestSegmentsEndWhenTheyAreLarge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, plenty)
	record := strings.Repeat("x", 1<<20)
	for range 20 {
		appendAll(t, s, record)
	}
	if n := len(files(t, dir, ".log")); n != 3 {
		t.Errorf("20 MiB are in %d segments", n)
	}
	if got := drain(t, s); len(got) != 20 {
		t.Errorf("read %d records", len(got))
	}
	if err := s.Append([][]byte{make([]byte, maxRecord+1)}); err == nil {
		t.Error("it took a record that it would not read")
	}
}

func TestManyMayAppendWhileOneDrains(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 50
	s := open(t, t.TempDir(), plenty)
	var appending sync.WaitGroup
	for w := range writers {
		appending.Go(func() {
			for i := range each {
				if err := s.Append([][]byte{fmt.Appendf(nil, "%d %d", w, i)}); err != nil {
					t.Error(err)
				}
				_, _ = s.Bytes(), s.Since()
			}
		})
	}
	done := make(chan struct{})
	go func() { appending.Wait(); close(done) }()
	var got []string
	for last := false; ; {
		got = append(got, drain(t, s)...)
		if last {
			break
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
	next := [writers]int{}
	for _, r := range got {
		var w, i int
		if _, err := fmt.Sscan(r, &w, &i); err != nil || next[w] != i {
			t.Fatalf("read %q where %d comes next (%v)", r, next[w], err)
		}
		next[w]++
	}
	if len(got) != writers*each {
		t.Errorf("read %d records", len(got))
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), 100)
	record := strings.Repeat("x", 100-headerBytes)
	appendAll(t, s, record)
	if err := s.Append([][]byte{nil}); !errors.Is(err, ErrFull) {
		t.Errorf("beyond its bound it says %v", err)
	}
	if got := drain(t, s); !slices.Equal(got, []string{record}) {
		t.Errorf("read %d records", len(got))
	}
	appendAll(t, s, record) // there is room again
}

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

var someRecords = []string{`{"event":1}`, "", strings.Repeat("long ", 50), "PLS1PLS1PLS1", `{"event":"the last"}`}

func TestATornTailIsCutAtEveryByte(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	whole := len(someRecords) - 1
	for cut := ends[whole-1]; cut < len(content); cut++ {
		dir := t.TempDir()
		s, log := withSegment(t, dir, content[:cut])
		appendAll(t, s, "new") // never behind the torn one
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

func TestAFlippedBitLosesOnlyTheRecordThatItHits(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	for at := range content {
		damaged := slices.Clone(content)
		damaged[at] ^= 1 << rand.IntN(8)
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

func TestDamageIsSetAsideAndReportedOnce(t *testing.T) {
	t.Parallel()
	content, ends := segment(t, someRecords)
	content[ends[1]+headerBytes] ^= 1
	dir := t.TempDir()
	s, log := withSegment(t, dir, content)
	for range 3 { // as when the database is not back yet
		if seg, err := s.Oldest(); err != nil || len(seg.Records) != len(someRecords)-1 {
			t.Fatalf("read %v (%v)", seg, err)
		}
	}
	if n := strings.Count(log(), "is corrupt"); n != 1 || s.Bad() != 1 {
		t.Errorf("reported %d times, %d parts set aside", n, s.Bad())
	}
	drain(t, s)
	s.Close()

	// The next process' segments do not get names under which something was set aside.
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

func TestWhatCannotBeSetAsideKeepsItsSegment(t *testing.T) {
	t.Parallel()
	content, _ := segment(t, someRecords)
	content[headerBytes] ^= 1
	dir := t.TempDir()
	s, _ := withSegment(t, dir, content)
	// Something else has the name.
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

// FuzzParse checks that whatever stands in a file, nothing is invented and nothing gets lost: records and bad parts are the
// file, in order, and a whole record behind anything is found.
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
		// It is found, or is part of one that begins in the file and whose sum is right all the same.
		if more, _ := parse(append(slices.Clone(content), one...)); len(more) <= len(records) {
			t.Errorf("a record behind %q is not found", content)
		}
	})
}

func TestAProcessThatEndedLeavesItsSpoolToOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Another process takes the first spool, appends and is killed.
	child := exec.Command(os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), "SPOOL_TEST_DIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	s := open(t, dir, plenty)
	if filepath.Base(s.dir) != "1" {
		t.Errorf("it took %s, which another process has", s.dir)
	}
	if found := s.Abandoned(); len(found) != 0 {
		t.Errorf("it found %v, whose process lives", found)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	found := s.Abandoned()
	if len(found) != 1 {
		t.Fatalf("it found %v", found)
	}
	if again := s.Abandoned(); len(again) != 0 {
		t.Error("it found the same twice")
	}
	if got := drain(t, found[0]); !slices.Equal(got, []string{"from the child"}) {
		t.Errorf("read %q", got)
	}
	found[0].Close()
	if found := s.Abandoned(); len(found) != 0 {
		t.Errorf("it found %v, which is empty", found)
	}
	if s := open(t, dir, plenty); filepath.Base(s.dir) != "0" {
		t.Errorf("the next one took %s", s.dir)
	}
}

// A program that is being started has copies of all open files for a moment.
func TestAClosedSpoolIsFreeThoughItsLockWasCopied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, plenty)
	copied, err := syscall.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, dir, plenty); filepath.Base(s.dir) != "0" {
		t.Errorf("the next one took %s", s.dir)
	}
}

// TestChild is the process that TestAProcessThatEndedLeavesItsSpoolToOthers kills.
func TestChild(t *testing.T) {
	dir := os.Getenv("SPOOL_TEST_DIR")
	if dir == "" {
		t.SkipNow()
	}
	s := open(t, dir, plenty)
	appendAll(t, s, "from the child")
	fmt.Print("!")
	select {}
}

func TestWhereNoSpoolCanBe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log, _ := testLog()
	if _, err := Open(file, plenty, log); err == nil {
		t.Error("it opened a spool in a file")
	}
	var none *Spool
	if none.Bytes() != 0 || !none.Since().IsZero() {
		t.Error("no spool holds something")
	}
}

func TestAFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	smallDisk(t, dir, 256<<10)
	s := open(t, filepath.Join(dir, "spool"), plenty)
	var want []string
	record := func() string { return fmt.Sprintf("%d %s", len(want), strings.Repeat("x", 10_000)) }
	var err error
	for err == nil {
		r := record()
		if err = s.Append(toBytes([]string{r, r})); err == nil {
			want = append(want, r, r)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a full disk it says %v", err)
	}
	if len(want) == 0 {
		t.Fatal("there was no room at all")
	}
	// Small ones may find room; what is said to be kept is kept.
	for range 200 {
		if err := s.Append([][]byte{[]byte("small")}); err == nil {
			want = append(want, "small")
		}
	}
	seg, err := s.Oldest()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(seg); err != nil {
		t.Fatal(err)
	}
	r := record()
	appendAll(t, s, r)
	got := append(toStrings(seg.Records), drain(t, s)...)
	if want = append(want, r); !slices.Equal(got, want) {
		t.Errorf("read %d records, want %d", len(got), len(want))
	}
	if s.Bad() != 0 {
		t.Errorf("%d parts were set aside", s.Bad())
	}
}
