package ingest

import (
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// TestInsertReturnsWhyItWroteNothing holds insert to its outcomes, from which Write chooses what it does next.
func TestInsertReturnsWhyItWroteNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := NewStore(pool)
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	event := func(at time.Time) presence.Event {
		return presence.Event{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: at}
	}
	// By another store, so that a partition and the contact are there.
	if err := NewStore(pool).Write(t.Context(), []presence.Event{event(at)}); err != nil {
		t.Fatal(err)
	}
	setCutoff(t, pool, at)
	for _, test := range []struct {
		events []presence.Event
		want   outcome
	}{
		{[]presence.Event{event(at.Add(time.Hour)), event(at.Add(time.Minute))}, inserted},
		{[]presence.Event{event(at.Add(2 * time.Hour)), event(at)}, late},
		{[]presence.Event{event(at.Add(3 * time.Hour)), event(at.Add(time.Hour))}, keyExists},
	} {
		got, err := s.insert(t.Context(), test.events)
		if err != nil || got != test.want {
			t.Errorf("the outcome is %d, %v; want %d", got, err, test.want)
		}
	}
	if n := pgtest.Get[int](t, pool, "SELECT count(*) FROM events"); n != 3 {
		t.Errorf("%d events; want 3", n)
	}
}

func TestInsertMissingDistinguishesRetriedFromConflicting(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := NewStore(pool)
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	event := func(status presence.Status, at time.Time) presence.Event {
		return presence.Event{InstanceID: "i", Phone: "p", Status: status, ReceivedAt: at}
	}
	batch := []presence.Event{event(presence.Available, at), event(presence.Paused, at.Add(time.Second))}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		events []presence.Event
		stored bool
	}{
		{"retried", batch, true},
		{"retried in part", []presence.Event{batch[1], event(presence.Paused, at.Add(time.Minute))}, true},
		{"conflicting", []presence.Event{batch[1], event(presence.Composing, at)}, false},
	} {
		stored, err := s.insertMissing(t.Context(), test.events)
		if err != nil || stored != test.stored {
			t.Errorf("%s: stored is %t, %v", test.name, stored, err)
		}
	}
}
