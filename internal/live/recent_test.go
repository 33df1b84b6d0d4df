package live

import (
	"log/slog"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// A poll reads only if somebody else has written events.
func TestHubKnowsItsOwnEvents(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	now := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	h := New(pool, slog.New(slog.NewTextHandler(t.Output(), nil)), func() time.Time { return now })
	t.Cleanup(h.Close)
	client := h.Subscribe(Filter{}, "")
	defer client.Close()
	<-client.Ready
	store := ingest.NewStore(pool)
	write := func(phone string, ago time.Duration, tell bool) {
		t.Helper()
		e := []presence.Event{{InstanceID: "i", Phone: phone, Status: presence.Composing, ReceivedAt: now.Add(-ago)}}
		if err := store.Write(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if tell {
			h.Durable(e)
		}
	}
	knowsAll := func() bool {
		t.Helper()
		_, _, unknown, err := h.unknown(t.Context(), now.Add(-4*time.Second), now)
		if err != nil {
			t.Fatal(err)
		}
		return !unknown
	}
	await := func(after string) { // it applies events, and polls, in the background
		t.Helper()
		pgtest.Eventually(t, "it knows all after "+after, knowsAll)
	}
	await("nothing")
	for i := range 50 {
		write("mine", time.Duration(3900-50*i)*time.Millisecond, true)
	}
	await("its own events")
	write("latest", 100*time.Millisecond, false)
	if !knowsAll() {
		t.Error("it would read another's event that may not have arrived here yet")
	}
	write("theirs", 2*time.Second, false)
	await("another's event was polled")
	for {
		messages, err := client.Take()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if m.Phone == "theirs" {
				return
			}
		}
		if len(messages) == 0 {
			t.Fatal("the poll did not read another's event")
		}
	}
}

func TestRecentCountsEachEventOnce(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_800_000_000_000_000)
	r, c := recent{}, &contact{}
	add := func(at time.Time, seq int16) bool { return r.add(c, event{presence.Available, at, seq}, now) }
	for _, ago := range []time.Duration{0, time.Microsecond, 99 * time.Millisecond, time.Second} {
		if !add(now.Add(-ago), 0) || add(now.Add(-ago), 0) || !add(now.Add(-ago), 1) {
			t.Errorf("%s ago: it is not counted once", ago)
		}
	}
	last := bucketOf(now.UnixMicro())
	if events, total := r.sum(last, (last-1)*bucketLength.Microseconds()); events != 6 || total != 2*(100_000+99_999+1000) {
		t.Errorf("the last bucket has %d events, %d µs", events, total)
	}
	now = now.Add(time.Minute)
	add(now, 0)
	if len(r) != 1 {
		t.Errorf("%d buckets are kept", len(r))
	}
}
