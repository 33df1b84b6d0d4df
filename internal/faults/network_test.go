//go:build linux

package faults

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 32, s)
	for range 10 * rounds() {
		l.during(l.rng.Int64N(100))
		x.cutAll()
	}
	for range rounds() {
		l.during(l.rng.Int64N(100))
		before := s.spooled()
		x.refuse.Store(true)
		x.cutAll()
		pgtest.Eventually(t, "events go to the spool", func() bool { return s.spooled() > before })
		x.refuse.Store(false)
	}
	l.during(200)
	l.count(cutAtRandom, d)
}

func TestCommitsCutFromTheirResponses(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 32, s)
	l.during(200)
	// First every second or third one, where the second try succeeds; then all of them, so that events are both committed
	// and spooled.
	for _, every := range []int64{3, 2, 1} {
		before := x.cut.Load()
		x.cutCommits.Store(every)
		pgtest.Eventually(t, "commits have lost their responses", func() bool { return x.cut.Load() >= before+int64(4*rounds()) })
	}
	spooledDuring(t, s, 100)
	x.cutCommits.Store(0)
	l.during(200)
	l.count(cutCommits, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}

func TestResponsesLate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := (&load{pace: 10 * time.Millisecond, cached: true}).start(t, 16, s)
	// The drain must have all contacts cached as well, so that one message is a whole transaction.
	l.during(500)
	x.refuse.Store(true)
	x.cutAll()
	spooledDuring(t, s, 500)
	x.refuse.Store(false)
	pgtest.Eventually(t, "the service is healthy", s.healthy)
	// The delay is about the timeout: some batches are committed in time, others are committed although they timed out.
	delays := []time.Duration{1990, 2010}
	if long {
		delays = []time.Duration{100, 300, 600, 900, 1950, 1980, 1990, 2000, 2010, 2050, 2500, 4000}
	}
	spooled, commits := s.spooled(), x.commits.Load()
	for _, delay := range delays {
		x.delay.Store(int64(delay * time.Millisecond))
		time.Sleep(3 * time.Second) // for a few of them
	}
	pgtest.Eventually(t, "batches are committed late", func() bool { return x.commits.Load() > commits })
	pgtest.Eventually(t, "batches are given up", func() bool { return s.spooled() > spooled })
	x.delay.Store(0)
	l.during(200)
	l.count(delayed, d)
}

func TestNetworkSilent(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 16, s)
	l.during(200)
	x.swallow.Store(true)
	spooledDuring(t, s, 500)
	x.swallow.Store(false)
	l.during(200)
	l.count(cablePulled, d)
}

func TestSlowClients(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	const slow = 1000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	closed := make(chan bool, slow)
	for i := range slow {
		conn, err := net.Dial("tcp", s.address())
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		head := "POST /webhooks/zapi HTTP/1.1\r\nHost: x\r\n"
		if i%2 == 0 { // half of them are slow with their headers, half with their body
			head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
		}
		_, err = conn.Write([]byte(head))
		must(t, err)
		go func() {
			for ctx.Err() == nil {
				if _, err := conn.Write([]byte("x")); err != nil {
					closed <- true
					return
				}
				time.Sleep(time.Second)
			}
		}()
	}
	l := startLoad(t, 16, s)
	l.during(2000)
	// Clients with slow headers are disconnected while the others still send.
	for range slow / 2 {
		select {
		case <-closed:
		case <-time.After(pgtest.Timeout):
			t.Fatal("the slow clients are still there")
		}
	}
	l.during(500)
	cancel()
	l.stop()
	l.count(slowClients, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}
