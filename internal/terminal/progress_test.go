package terminal

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestProgressInAPipe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unit  string
		total int64
		want  string
	}{
		{"events", 0, "import: 3,000,000 events in 1 m 15 s, 40,000/s\n"},
		{"events", 3_000_000, "import: 3,000,000 events in 1 m 15 s, 40,000/s\n"},
		{"events", 4_000_000, "import: 3,000,000 of 4,000,000 events in 1 m 15 s, 40,000/s\n"},
		{"B", 0, "import: 3.0 MB in 1 m 15 s, 40.0 kB/s\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			p := NewProgress(&b, "import", test.unit, test.total)
			var workers sync.WaitGroup
			for range 3 {
				workers.Go(func() {
					for range 1000 {
						p.Add(1000)
					}
				})
			}
			workers.Wait()
			time.Sleep(75 * time.Second)
			if b.Len() > 0 {
				t.Errorf("wrote %q before the end", b.String())
			}
			p.Done()
			p.Done()
			if b.String() != test.want {
				t.Errorf("wrote %q, want %q", b.String(), test.want)
			}
		})
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unit     string
		n, total int64
		elapsed  time.Duration
		width    int
		want     string
	}{
		{"events", 420_000, 1_000_000, 5 * time.Second, 79, "import ▕██████▎        ▏  42 %  420,000 of 1,000,000 events  84,000/s  7 s left"},
		{"events", 420_000, 1_000_000, 5 * time.Second, 119, "import ▕████████████████▊                       ▏  42 %  420,000 of 1,000,000 events  84,000/s  7 s left"},
		{"events", 0, 1000, 0, 79, "import ▕                                        ▏   0 %  0 of 1,000 events  0/s"},
		{"events", 999_999, 1_000_000, time.Second, 100, "import ▕██████████████████████████████████▉▏  99 %  999,999 of 1,000,000 events  999,999/s  1 s left"},
		{"events", 1000, 1000, time.Second, 79, "import ▕██████████████████████▏ 100 %  1,000 of 1,000 events  1,000/s  0 s left"},
		{"events", 1500, 1000, time.Second, 79, "import ▕████████████████████████████████▏ 100 %  1,500 of 1,000 events  1,500/s"},
		{"events", 420_000, 1_000_000, 5 * time.Second, 40, "import  42 %  420,000 of 1,000,000 event"},
		{"events", 420_000, 1_000_000, 5 * time.Second, 66, "import  42 %  420,000 of 1,000,000 events  84,000/s  7 s left"},
		{"events", 420_000, 0, 65 * time.Second, 79, "import  420,000 events  6,462/s  1 m 05 s"},
		{"B", 1_234_567_890, 5_000_000_000, 10 * time.Second, 79, "import ▕█████▋                 ▏  24 %  1.2 GB of 5.0 GB  123.5 MB/s  31 s left"},
		{"B", 512, 0, 2 * time.Second, 79, "import  512 B  256 B/s  2 s"},
	} {
		p := NewProgress(&bytes.Buffer{}, "import", test.unit, test.total)
		p.Set(test.n)
		got := p.line(test.elapsed, Screen{Width: test.width})
		if got != test.want {
			t.Errorf("%d of %d %s:\n got %q\nwant %q", test.n, test.total, test.unit, got, test.want)
		}
		if n := utf8.RuneCountInString(got); n > test.width {
			t.Errorf("%q takes %d columns, want at most %d", got, n, test.width)
		}
		if strings.Contains(got, "\x1b") {
			t.Errorf("%q is in colour", got)
		}
	}
}

func TestLength(t *testing.T) {
	t.Parallel()
	const hour, day = 3600, 24 * 3600
	for seconds, want := range map[float64]string{
		0: "0 s", 0.04: "0 s", 0.35: "0.4 s", 2: "2 s", 9.94: "9.9 s", 9.96: "10 s", 12.34: "12 s",
		59.6: "1 m 00 s", 245: "4 m 05 s", hour - 0.4: "1 h 00 m", 63 * 60: "1 h 03 m", 23*hour + 59*60: "23 h 59 m",
		day - 1: "1 d 00 h", 52 * hour: "2 d 04 h", 400*day + 31*60: "400 d 01 h", 1e11: "1,157,407 d 10 h",
	} {
		if got := Length(seconds); got != want {
			t.Errorf("Length(%v) = %q, want %q", seconds, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}
