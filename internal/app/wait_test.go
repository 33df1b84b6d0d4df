package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

type waited struct {
	presence.Contact
	TimedOut bool
}

// wait calls wait and returns its response.
func (s *service) wait(t *testing.T, phone, query string) waited {
	t.Helper()
	var w waited
	s.get(t, contactPath("i", phone)+"/wait?"+query, &w)
	return w
}

func TestWaitUntilTypingHasStopped(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "a", "COMPOSING"))
	done := make(chan waited, 1)
	const settle = 4 * time.Second // far longer than the pauses, also on a busy machine
	go func() { done <- s.wait(t, "a", "timeout=2m&settle="+settle.String()) }()
	for _, status := range []string{"PAUSED", "RECORDING", "AVAILABLE"} { // in each pause, the next event comes before settle ends
		time.Sleep(300 * time.Millisecond)
		s.postID(t, body("i", "a", status))
	}
	w := <-done
	if quiet := w.Now.Sub(w.Since); w.TimedOut || w.Status != presence.Available || quiet < settle {
		t.Errorf("%+v, %s after it went quiet", w, quiet)
	}
	// Now it has been quiet for long enough.
	if w := s.wait(t, "a", "timeout=1m&settle="+settle.String()); w.TimedOut {
		t.Errorf("%+v", w)
	}
	// From a message's arrival on, the time starts again.
	arrived := presence.Now()
	if w := s.wait(t, "a", "settle=800ms&since="+url.QueryEscape(arrived.Format(time.RFC3339Nano))); w.TimedOut || w.Now.Sub(arrived) < 800*time.Millisecond {
		t.Errorf("%+v, %s after the message", w, w.Now.Sub(arrived))
	}
}

func TestWaitEndsWithTheTimeout(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "a", "RECORDING"))
	asked := presence.Now()
	w := s.wait(t, "a", "timeout=200ms")
	if took := w.Now.Sub(asked); !w.TimedOut || w.Status != presence.Recording || took < 200*time.Millisecond {
		t.Errorf("%+v, %s after it was asked", w, took)
	}
}

// Typing ends also because nothing renews it.
func TestWaitForTypingTimeout(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := settings.Set(t.Context(), s.pool, "", "typing_timeout", "1s"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "a wait begins while the contact types", func() bool { // a slow machine may ask too late
		s.postID(t, body("i", "a", "COMPOSING"))
		asked := presence.Now()
		w := s.wait(t, "a", "settle=0s")
		if w.TimedOut || w.Status != presence.Paused || w.Now.Before(w.Since) {
			t.Fatalf("%+v", w)
		}
		return asked.Before(w.Since)
	})
}

func TestWaitForAStatus(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "a", "AVAILABLE"))
	for until, status := range map[string]string{
		"typing": "COMPOSING", "recording": "RECORDING", "unavailable": "UNAVAILABLE", "available": "AVAILABLE",
	} {
		phone := "of-" + until
		s.postID(t, body("i", phone, "PAUSED"))
		before := s.wait(t, phone, "until="+until+"&timeout=10ms")
		if !before.TimedOut {
			t.Fatalf("%s: %+v", until, before)
		}
		waiting := func(n int) {
			t.Helper()
			pgtest.Eventually(t, fmt.Sprintf("%d clients wait", n), func() bool { return s.liveClients(t) == n })
		}
		waiting(0)
		done := make(chan waited, 1)
		go func() { done <- s.wait(t, phone, "until="+until) }()
		waiting(1)
		s.postID(t, body("i", phone, status))
		if w := <-done; w.TimedOut || w.Status.String() != status {
			t.Errorf("%s: %+v", until, w)
		}
		// Nothing is missed between two calls.
		s.postID(t, body("i", phone, "PAUSED"))
		if w := s.wait(t, phone, "until="+until+"&since="+url.QueryEscape(before.Now.Format(time.RFC3339Nano))); w.TimedOut {
			t.Errorf("%s was missed: %+v", until, w)
		}
		if w := s.wait(t, phone, "until="+until+"&timeout=10ms"); !w.TimedOut {
			t.Errorf("%s is over: %+v", until, w)
		}
	}
}

func TestWaitRefuses(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "a", "AVAILABLE"))
	for query, location := range map[string]string{
		"until=gone": "query.until", "settle=-1s": "query.settle", "settle=1": "query.settle", "timeout=6m": "query.timeout", "since=yesterday": "query.since",
	} {
		refusedFor(t, s.do(t, request(t, http.MethodGet, s.url+contactPath("i", "a")+"/wait?"+query, nil)), http.StatusUnprocessableEntity, location)
	}
	refused(t, s.do(t, request(t, http.MethodGet, s.url+contactPath("i", "b")+"/wait", nil)), http.StatusNotFound)
}

// Whoever only asks whether it is quiet does not wait.
func TestWaitWithoutTimeout(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, record("i", "a", "AVAILABLE", presence.Now().Add(-time.Minute)))
	if w := s.wait(t, "a", "timeout=0s"); w.TimedOut || w.Status != presence.Available {
		t.Errorf("%+v", w)
	}
	s.postID(t, body("i", "a", "COMPOSING"))
	if w := s.wait(t, "a", "timeout=0s"); !w.TimedOut || w.Status != presence.Composing {
		t.Errorf("%+v", w)
	}
}

// A date means its start in the instance's time zone: here after the visit in UTC, and before it in Kiribati.
func TestWaitSinceADate(t *testing.T) {
	t.Parallel()
	s := start(t)
	today := presence.Now().Truncate(24 * time.Hour)
	s.load(t, record("i", "a", "AVAILABLE", today.Add(-2*time.Hour))+record("i", "a", "UNAVAILABLE", today.Add(-time.Hour)))
	query := "until=available&timeout=0s&since=" + today.Format(time.DateOnly)
	if w := s.wait(t, "a", query); !w.TimedOut {
		t.Errorf("in UTC: %+v", w)
	}
	if err := settings.Set(t.Context(), s.pool, "i", "time_zone", "Pacific/Kiritimati"); err != nil {
		t.Fatal(err)
	}
	if w := s.wait(t, "a", query); w.TimedOut {
		t.Errorf("in Kiribati: %+v", w)
	}
}

// However long ago since is, the contact is not quiet while it types.
func TestWaitSinceLongAgo(t *testing.T) {
	t.Parallel()
	s := start(t)
	var lines strings.Builder
	first := presence.Now().Add(-10 * time.Hour)
	for i := range 10_000 { // as many spans as a page of the timeline may have
		lines.WriteString(record("i", "a", []string{"AVAILABLE", "UNAVAILABLE"}[i%2], first.Add(time.Duration(i)*time.Second)))
	}
	s.load(t, lines.String())
	s.postID(t, body("i", "a", "COMPOSING"))
	if w := s.wait(t, "a", "timeout=200ms&since=2000-01-01"); !w.TimedOut || w.Status != presence.Composing {
		t.Errorf("%+v", w)
	}
}
