package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const plenty = 1 << 30

// testLog returns a log and a function that returns its content.
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

// drain removes all records from the spool.
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

func TestRecordsAreReadInOrder(t *testing.T) {
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
	appendAll(t, s, "four") // to another segment than the one being read
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
	if s.Bytes() != 0 || len(files(t, dir, ".log")) != 0 || len(files(t, dir, ".bad")) != 0 {
		t.Errorf("left are %d bytes, %v and %d bad parts", s.Bytes(), files(t, dir, ".log"), len(files(t, dir, ".bad")))
	}
}

func TestLargeSegmentsAreClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, plenty)
	record := strings.Repeat("x", 1<<20)
	for range 5 {
		appendAll(t, s, record)
	}
	if n := len(files(t, dir, ".log")); n != 3 {
		t.Errorf("5 MiB are in %d segments", n)
	}
	if got := drain(t, s); len(got) != 5 {
		t.Errorf("read %d records", len(got))
	}
	if err := s.Append([][]byte{make([]byte, maxRecord+1)}); err == nil {
		t.Error("Append accepted a record that is too large to be read")
	}
}

func TestAppendWhileDraining(t *testing.T) {
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

func TestAppendStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), 100)
	record := strings.Repeat("x", 100-headerBytes)
	appendAll(t, s, record)
	if err := s.Append([][]byte{nil}); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the limit Append returns %v", err)
	}
	if got := drain(t, s); !slices.Equal(got, []string{record}) {
		t.Errorf("read %d records", len(got))
	}
	appendAll(t, s, record) // which has room again
}

var someRecords = []string{`{"event":1}`, "", strings.Repeat("long ", 50), "PLS1PLS1PLS1", `{"event":"the last"}`}

func TestSpoolOfAnEndedProcessIsAbandoned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Another process locks the first spool, appends and is killed.
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
		t.Errorf("Open returned %s, which another process uses", s.dir)
	}
	if found := s.Abandoned(); len(found) != 0 {
		t.Errorf("Abandoned returned %v, whose process is alive", found)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	found := s.Abandoned()
	if len(found) != 1 {
		t.Fatalf("Abandoned returned %v", found)
	}
	if again := s.Abandoned(); len(again) != 0 {
		t.Error("Abandoned returned the same spool twice")
	}
	if got := drain(t, found[0]); !slices.Equal(got, []string{"from the child"}) {
		t.Errorf("read %q", got)
	}
	found[0].Close()
	if found := s.Abandoned(); len(found) != 0 {
		t.Errorf("Abandoned returned %v, which is empty", found)
	}
	if s := open(t, dir, plenty); filepath.Base(s.dir) != "0" {
		t.Errorf("the next Open returned %s", s.dir)
	}
}

// A child process has copies of all open files until it executes its program.
func TestCloseReleasesInheritedLock(t *testing.T) {
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
		t.Errorf("the next Open returned %s", s.dir)
	}
}

// TestChild is the process that TestSpoolOfAnEndedProcessIsAbandoned kills.
func TestChild(t *testing.T) {
	dir := os.Getenv("SPOOL_TEST_DIR")
	if dir == "" {
		t.SkipNow()
	}
	s := open(t, dir, plenty)
	appendAll(t, s, "from the child")
	fmt.Print("!")
	time.Sleep(time.Hour) // with select {} the runtime would find a deadlock and exit
}

func TestOpenFailsInAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log, _ := testLog()
	if _, err := Open(file, plenty, log); err == nil {
		t.Error("Open created a spool in a file")
	}
	var none *Spool
	if none.Bytes() != 0 || !none.Since().IsZero() {
		t.Error("a nil spool is not empty")
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
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
		t.Fatalf("on a full disk Append returns %v", err)
	}
	if len(want) == 0 {
		t.Fatal("there was no room at all")
	}
	// Small records may still fit. Those that were accepted must be found.
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
	if bad := files(t, dir, ".bad"); len(bad) != 0 {
		t.Errorf("set aside: %v", bad)
	}
}
