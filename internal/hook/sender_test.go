package hook

import (
	"log/slog"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// Changes that are queued are not read again by the next attempt, and none is skipped because of a clock that was ahead.
func TestQueuedUntil(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := NewSender(pool, nil, slog.New(slog.DiscardHandler))
	since, err := s.q.HoldHookLease(t.Context(), s.holder)
	if err != nil {
		t.Fatal(err)
	}
	until := func() time.Time { return pgtest.Get[time.Time](t, pool, "SELECT queued_until FROM hook_lease") }
	pgtest.Exec(t, pool, "UPDATE hook_lease SET queued_until = now() - interval '10 min'")
	if err := s.catchUp(t.Context(), since.Time.Add(-10*time.Minute)); err != nil { // there is no instance yet
		t.Fatal(err)
	}
	if behind := presence.Now().Sub(until()); behind > 5*time.Minute {
		t.Errorf("changes are queued up to %s ago", behind)
	}
	if err := s.markQueued(t.Context(), presence.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if ahead := until().Sub(presence.Now()); ahead > 0 {
		t.Errorf("changes are queued up to %s in the future", ahead)
	}
}
