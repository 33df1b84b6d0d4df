//go:build linux

package faults

import "testing"

// maxMemory is the most that the service may use under any load.
const maxMemory = 150 << 20

// More clients than a batch has room for, and more bytes than two batches hold, while PostgreSQL commits and while it does
// not. Not in parallel: it uses the whole machine.
func TestOverload(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "100MiB") // as docs/reliability.md advises
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := (&load{pad: 20_000}).start(t, 500, s)
	l.during(1000)
	d.freeze()
	spooledDuring(t, s, 1000)
	d.thaw()
	l.during(1000)
	l.count(overload, d)
	if m := s.peakMemory(); m > maxMemory {
		t.Errorf("the service used %d MiB of memory", m>>20)
	} else {
		t.Logf("the service used %d MiB of memory", m>>20)
	}
}
