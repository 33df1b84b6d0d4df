package live

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func newHub(t *testing.T, pool *pgxpool.Pool, now func() time.Time) *Hub {
	t.Helper()
	h := New(pool, slog.New(slog.NewTextHandler(t.Output(), nil)), now)
	t.Cleanup(h.Close)
	return h
}

// subscribe returns a client that is ready.
func subscribe(t *testing.T, h *Hub, f Filter, lastID string) *Client {
	t.Helper()
	c := h.Subscribe(f, lastID)
	t.Cleanup(c.Close)
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// expect reads the client's next messages and compares them with statuses.
func expect(t *testing.T, c *Client, want ...presence.Status) (last *Message) {
	t.Helper()
	for len(want) > 0 {
		select {
		case <-c.Wake():
		case <-time.After(pgtest.Timeout):
			t.Fatalf("nothing comes; want %s", want)
		}
		messages, err := c.Take()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if len(want) == 0 || m.Status != want[0] {
				t.Fatalf("got %s %s, want %s", m.Phone, m.Status, want)
			}
			want, last = want[1:], m
		}
	}
	return last
}

func happens(status presence.Status, at time.Time) []presence.Event {
	return []presence.Event{{InstanceID: "i", Phone: "p", Status: status, ReceivedAt: at}}
}

func TestDurableCostsNothingWithoutClients(t *testing.T) {
	t.Parallel()
	h := newHub(t, pgtest.New(t), presence.Now)
	events := make([]presence.Event, 1000)
	h.Durable(events)
	if n := len(h.incoming); n > 0 {
		t.Errorf("%d batches were kept", n)
	}
	c := subscribe(t, h, Filter{}, "")
	h.Durable(happens(presence.Composing, presence.Now()))
	expect(t, c, presence.Composing)
}

func TestHubFollowsTimeoutsThatChange(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	h := newHub(t, pool, presence.Now)
	c := subscribe(t, h, Filter{}, "")
	began := presence.Now().Add(-10 * time.Second)
	events := happens(presence.Composing, began)
	if err := ingest.NewStore(pool).Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	h.Durable(events)
	expect(t, c, presence.Composing)
	set := func(instance, value string) {
		if err := settings.Set(t.Context(), pool, instance, "typing_timeout", value); err != nil {
			t.Fatal(err)
		}
	}
	set("", "5s")
	if m := expect(t, c, presence.Paused); !m.Since.Equal(began.Add(5 * time.Second)) {
		t.Errorf("paused since %s, want 5 s after %s", m.Since, began)
	}
	set("i", "10m") // it types again, and has since it began
	if m := expect(t, c, presence.Composing); !m.Since.Equal(began) {
		t.Errorf("typing since %s, want %s", m.Since, began)
	}
}

// Another process writes to a database that was restored, where an id may be another contact's.
func TestHubFollowsARestoredDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := subscribe(t, newHub(t, pool, presence.Now), Filter{}, "")
	for _, phone := range []string{"p", "q"} {
		pgtest.Exec(t, pool, "TRUNCATE contacts RESTART IDENTITY CASCADE")
		events := happens(presence.Composing, presence.Now())
		events[0].Phone = phone
		if err := ingest.NewStore(pool).Write(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		if m := expect(t, c, presence.Composing); m.Phone != phone {
			t.Errorf("%s types, want %s", m.Phone, phone)
		}
	}
	if ids := pgtest.Strings(t, pool, "SELECT id::text FROM contacts"); len(ids) != 1 || ids[0] != "1" {
		t.Errorf("the second contact has ids %v", ids)
	}
}

// An event of a contact that was erased since has no name.
func TestHubIgnoresEventsOfErasedContacts(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := subscribe(t, newHub(t, pool, presence.Now), Filter{}, "")
	events := happens(presence.Composing, presence.Now())
	if err := ingest.NewStore(pool).Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	expect(t, c, presence.Composing)
	pgtest.Exec(t, pool, "INSERT INTO events (contact_id, received_at, seq, status) VALUES (99, now(), 0, 5)")
	events = happens(presence.Available, presence.Now())
	if err := ingest.NewStore(pool).Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	expect(t, c, presence.Available)
}

// While the database is away, the feed continues with durable events of the process's own writer.
func TestHubContinuesWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Connect(t.Context(), pgtest.URL(t), "test", 4)
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, pool, presence.Now)
	c := subscribe(t, h, Filter{}, "")
	pool.Close()
	now := presence.Now()
	for i, status := range []presence.Status{presence.Available, presence.Composing, presence.Unavailable} {
		h.Durable(happens(status, now.Add(time.Duration(i)*time.Millisecond)))
	}
	expect(t, c, presence.Available, presence.Composing, presence.Unavailable)
}

func TestHubSleepsAndForgets(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return presence.Now().Add(time.Duration(ahead.Load())) }
	h := newHub(t, pgtest.New(t), now)
	first := h.Subscribe(Filter{}, "")
	if err := first.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Durable(happens(presence.Composing, now()))
	id := expect(t, first, presence.Composing).ID()
	first.Close()
	if again := subscribe(t, h, Filter{}, id); again.Resync {
		t.Error("it cannot be resumed at once")
	} else {
		again.Close()
	}
	ahead.Store(int64(2 * linger))
	pgtest.Eventually(t, "it falls asleep", func() bool { return !h.awake.Load() })
	if late := subscribe(t, h, Filter{}, id); !late.Resync {
		t.Error("it forgets changes and does not say so")
	}
}

func TestSlowClientsAreDropped(t *testing.T) {
	t.Parallel()
	h := newHub(t, pgtest.New(t), presence.Now)
	slow, quick := subscribe(t, h, Filter{}, ""), subscribe(t, h, Filter{Statuses: []presence.Status{presence.Recording}}, "")
	now := presence.Now()
	for i := range queueSize + 10 {
		h.Durable(happens([]presence.Status{presence.Composing, presence.Paused}[i%2], now.Add(time.Duration(i)*time.Microsecond)))
		for len(h.incoming) > incomingSize/2 { // more would be left to the database
			time.Sleep(time.Millisecond)
		}
	}
	h.Durable(happens(presence.Recording, now.Add(time.Second)))
	expect(t, quick, presence.Recording)
	if _, err := slow.Take(); err != ErrSlow {
		t.Errorf("got %v, want ErrSlow", err)
	}
}
