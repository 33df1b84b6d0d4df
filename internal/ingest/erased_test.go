package ingest_test

import (
	"context"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// TestContactErasedBeforeItsEventsAreStored: it was still there when the events from a spool or a file were checked.
func TestContactErasedBeforeItsEventsAreStored(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*ingest.Store, []presence.Event) error{
		"Write": func(s *ingest.Store, events []presence.Event) error { return s.Write(t.Context(), events) },
		"Merge": func(s *ingest.Store, events []presence.Event) error {
			_, err := s.Merge(t.Context(), events)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			s, list := ingest.NewStore(pool), erasure.NewList(pool)
			at := presence.Now().Add(-time.Minute)
			write(t, s, event(a, at, 0)) // its id is cached
			checks := 0
			s.Keep = func(ctx context.Context, events []presence.Event) ([]presence.Event, error) {
				kept, err := list.Keep(ctx, events)
				if checks++; checks == 1 {
					r, err := erasure.Erase(ctx, pool, erasure.Request{InstanceID: "i", Phone: "p"})
					if err != nil || r.Contacts != 1 || len(kept) != 3 {
						t.Error(r, kept, err)
					}
				}
				return kept, err
			}
			other := event(a, at, 0)
			other.Phone = "q"
			if err := store(s, []presence.Event{event(b, at, 1), other, event(c, at, 2)}); err != nil {
				t.Fatal(err)
			}
			if got := pgtest.Strings(t, pool, "SELECT phone FROM contacts"); len(got) != 1 || got[0] != "q" || checks != 2 {
				t.Errorf("contacts are %v after %d checks", got, checks)
			}
			if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events"); n != 1 {
				t.Errorf("%d events are stored", n)
			}
		})
	}
}

// TestWriteDuringErasure: one that began before an erasure, and writes after that has looked for such, is rolled back.
func TestWriteDuringErasure(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 0))
	for _, erased := range []bool{false, true} {
		same, err := s.InTx(t.Context(), func() error {
			if !erased {
				return nil
			}
			_, err := pool.Exec(t.Context(), "SELECT nextval('erasure_count')")
			return err
		})
		if err != nil || same == erased {
			t.Errorf("erased %t: %t %v", erased, same, err)
		}
	}
}
