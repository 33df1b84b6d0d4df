//go:build linux

package faults

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestSpoolDiskFull(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	host := p.host()
	dataDir := filepath.Join(p.dir, "data")
	smallDisk(t, filepath.Join(dataDir, "spool"), 4<<20)
	s := newServiceIn(t, p, dataDir, host, d.url())
	t.Cleanup(s.kill)
	l := (&load{pad: 4000}).start(t, 16, s)
	l.during(100)
	d.stop()
	pgtest.Eventually(t, "the spool's disk is full", func() bool { return l.unavailable.Load() > 100 })
	spooledDuring(t, s, 100)
	d.start()
	pgtest.Eventually(t, "the service is healthy", s.healthy)
	l.during(200)
	l.count(spoolFull, d)
}

func TestSpoolAtItsLimit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url(), "--spool-bytes=500000")
	l := startLoad(t, 16, s)
	l.during(100)
	d.stop()
	pgtest.Eventually(t, "the spool is full", func() bool { return l.unavailable.Load() > 100 })
	spooledDuring(t, s, 100)
	if n := s.metric("presencelog_spool_bytes"); n > 500000 {
		t.Errorf("there are %.0f bytes in the spool", n)
	}
	d.start()
	pgtest.Eventually(t, "the service is healthy", s.healthy)
	l.during(200)
	l.count(spoolLimit, d)
}

func TestSpoolDamaged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 16, s)
	l.during(100)
	d.stop()
	for range 2 * rounds() { // each makes a file
		spooledDuring(t, s, 200)
		s.kill()
		s.start()
	}
	l.stop()
	s.kill()

	damaged := map[int64]bool{}
	for i, name := range s.segments() {
		content, err := os.ReadFile(name)
		must(t, err)
		records := recordsOf(t, content)
		if len(records) == 0 {
			continue
		}
		hit := func(from, until int) {
			for _, r := range records {
				if r.from < until && from < r.until {
					damaged[r.number] = true
				}
			}
		}
		if i%2 == 0 {
			for range 1 + l.rng.IntN(5) {
				at := l.rng.IntN(len(content))
				content[at] ^= 1 << l.rng.IntN(8)
				hit(at, at+1)
			}
		}
		if i%3 == 0 {
			at := l.rng.IntN(len(content))
			hit(at, len(content))
			content = content[:at]
		}
		must(t, os.WriteFile(name, content, 0o600))
	}
	if len(damaged) == 0 {
		t.Fatal("nothing was damaged")
	}
	s.start()
	d.start()
	l.countExcept(spoolDamaged, d, damaged)
	if len(s.bad()) == 0 {
		t.Error("nothing was set aside")
	}
	if !contains(s, "the spool is corrupt") && !contains(s, "segment of the spool is truncated") {
		t.Error("the damage was not reported")
	}
}

// spooled is an event in a file of the spool.
type spooled struct {
	from, until int // its bytes
	number      int64
}

// recordsOf reads an undamaged file of the spool; kill -9 may have cut its end.
func recordsOf(t testing.TB, content []byte) (records []spooled) {
	t.Helper()
	const header = 12
	for at := 0; len(content)-at >= header; {
		size := int(binary.BigEndian.Uint32(content[at+4:]))
		end := at + header + size
		if end > len(content) {
			break
		}
		var record struct {
			Event struct {
				Extra jsontext.Value `json:"extra"`
			} `json:"event"`
		}
		must(t, json.Unmarshal(content[at+header:end], &record))
		records = append(records, spooled{at, end, numberIn(string(record.Event.Extra))})
		at = end
	}
	return records
}
