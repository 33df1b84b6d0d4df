package ingest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const (
	a = presence.Available
	b = presence.Composing
	c = presence.Paused
)

var noon = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// event is one of the contact p of the instance i.
func event(status presence.Status, at time.Time, seq int16) presence.Event {
	return presence.Event{InstanceID: "i", Phone: "p", Status: status, ReceivedAt: at, Seq: seq}
}

// stored lists the contact's events by their status, those of one receivedAt in brackets.
func stored(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	whole := history.Range{From: noon.AddDate(-30, 0, 0), To: noon.AddDate(30, 0, 0)}
	var events []presence.Event
	var last *history.EventKey
	for more := true; more; {
		page, next, err := history.NewReader(pool, time.Now).Events(t.Context(), "i", "p", whole, last, false, 1000)
		if err != nil {
			t.Fatal(err)
		}
		events, more = append(events, page...), next
		if more {
			last = &history.EventKey{ReceivedAt: page[len(page)-1].ReceivedAt, Seq: page[len(page)-1].Seq}
		}
	}
	var groups []string
	for i, e := range events {
		name := strings.ToLower(e.Status.String()[:1])
		if e.Status == b {
			name = "b"
		} else if e.Status == c {
			name = "c"
		}
		if i > 0 && e.ReceivedAt.Equal(events[i-1].ReceivedAt) {
			groups[len(groups)-1] += name
		} else {
			groups = append(groups, name)
		}
	}
	return "[" + strings.Join(groups, "][") + "]"
}

func want(t *testing.T, pool *pgxpool.Pool, list string) {
	t.Helper()
	if got := stored(t, pool); got != list {
		t.Errorf("stored %s, want %s", got, list)
	}
}

func write(t *testing.T, s *ingest.Store, events ...presence.Event) {
	t.Helper()
	if err := s.Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func merge(t *testing.T, s *ingest.Store, added int64, events ...presence.Event) {
	t.Helper()
	got, err := s.Merge(t.Context(), slices.Clone(events))
	if err != nil {
		t.Fatal(err)
	}
	if got != added {
		t.Errorf("merge added %d, want %d", got, added)
	}
}

func TestWriteAgainStoresOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	seen := int64(7)
	full := event(c, noon.Add(time.Second), 3)
	full.LastSeen, full.Extra = &seen, []byte(`{"x":1}`)
	batch := []presence.Event{event(a, noon, 1), event(b, noon, 2), full}
	write(t, s, batch...)
	write(t, s, batch...)
	write(t, ingest.NewStore(pool), batch...) // another process
	write(t, s, append(batch, event(a, noon.Add(time.Minute), 4))...)
	want(t, pool, "[ab][c][a]")
}

func TestWriteKeepsEventsWithTheSameKey(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	one, other := ingest.NewStore(pool), ingest.NewStore(pool) // two processes have sequences of their own
	write(t, one, event(a, noon, 5))
	write(t, other, event(b, noon, 5), event(c, noon.Add(time.Second), 6))
	want(t, pool, "[ab][c]")
	write(t, other, event(b, noon, 5), event(c, noon.Add(time.Second), 6)) // and again
	want(t, pool, "[ab][c]")

	// Events that differ in lastSeen or extra are other events, too.
	seen := int64(1)
	withSeen, withExtra := event(a, noon.Add(time.Hour), 9), event(a, noon.Add(time.Hour), 9)
	withSeen.LastSeen, withExtra.Extra = &seen, []byte(`{"x":1}`)
	write(t, one, event(a, noon.Add(time.Hour), 9))
	write(t, other, withSeen)
	write(t, other, withExtra)
	want(t, pool, "[ab][c][aaa]")
}

func TestWriteCreatesPartitions(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 1), event(b, noon.AddDate(0, 1, 0), 1))
	write(t, s, event(a, noon.AddDate(0, 2, 0), 1)) // of a contact whose id is cached by now
	merge(t, s, 2, event(a, noon.AddDate(-9, 0, 0), 0), event(b, noon.AddDate(9, 0, 0), 0))
	want(t, pool, "[a][a][b][a][b]")
}

func TestMergeAgainAddsNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seen := int64(7)
	full := event(c, noon.Add(time.Second), 0)
	full.LastSeen, full.Extra = &seen, []byte(`{"x":"\u0000é"}`)
	batch := []presence.Event{event(a, noon, 0), event(b, noon, 0), event(a, noon, 0), full}
	s := ingest.NewStore(pool)
	merge(t, s, 4, batch...)
	merge(t, s, 0, batch...)
	merge(t, s, 0, batch[3], batch[0])
	merge(t, ingest.NewStore(pool), 0, batch...)
	merge(t, ingest.NewStore(pool), 1, append(batch, event(b, noon.Add(time.Hour), 0))...)
	merge(t, s, 0)
	want(t, pool, "[aba][c][b]")
}

func TestMergeOrderOfEqualTimes(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	// Others are in between, which Merge may sort apart.
	other := event(c, noon, 0)
	other.Phone = "o"
	merge(t, s, 5, event(a, noon, 0), other, event(b, noon, 0), other, event(a, noon, 0))
	want(t, pool, "[aba]")
	spans, err := history.NewReader(pool, func() time.Time { return noon.Add(time.Second) }).
		Timeline(t.Context(), "i", "p", history.Range{From: noon, To: noon.Add(time.Second)}, time.Time{}, 10)
	if err != nil || len(spans) != 1 || spans[0].Status != a {
		t.Errorf("timeline %+v, %v; want that the last of the ties counts", spans, err)
	}
	merge(t, s, 1, event(c, noon, 0)) // new events come last
	want(t, pool, "[abac]")
	merge(t, s, 1, event(b, noon, 0), event(a, noon, 0), event(b, noon, 0)) // one more of b than there was
	want(t, pool, "[abacb]")
	merge(t, s, 3, event(a, noon, 0), event(a, noon, 0), event(b, noon, 0), event(b, noon, 0), event(c, noon, 0),
		event(c, noon, 0), event(b, noon, 0), event(a, noon, 0))
	want(t, pool, "[abacbcba]")
}

func TestMergeStoresIdenticalEventsAsOftenAsGiven(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	three := []presence.Event{event(a, noon, 0), event(a, noon, 0), event(a, noon, 0)}
	merge(t, s, 3, three...)
	merge(t, s, 0, three[:2]...)
	merge(t, s, 2, append(three, three[:2]...)...)
	want(t, pool, "[aaaaa]")
}

func TestMergeSkipsEventsOfTheReceiver(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 16000), event(b, noon, 16001))
	merge(t, s, 1, event(a, noon, 0), event(b, noon, 0), event(c, noon, 0))
	want(t, pool, "[abc]")
}

// Plans of an import may be made while statistics say that the month it fills is empty.
func TestMergeNeverScansAMonth(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	next := noon.AddDate(0, 1, 0)
	if err := postgres.MakePartitions(t.Context(), pool, noon, next); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, pool, "VACUUM ANALYZE events")
	s := ingest.NewStore(pool)
	merge(t, s, 1, event(a, noon, 0))
	merge(t, s, 1, event(b, noon.Add(time.Second), 0))                                     // copied
	merge(t, s, 1, event(b, noon.Add(time.Second), 0), event(a, noon.Add(time.Minute), 0)) // merged
	for i := range 3 {
		at := next.Add(time.Duration(i) * time.Hour)
		merge(t, s, 1, event(a, at, 0))
		merge(t, s, 1, event(a, at, 0), event(b, at, 0))
	}
	if rows := scanned(t, pool, "events_%"); rows > 0 {
		t.Errorf("%d events were read without the index", rows)
	}
}

// Plans for contacts may be made while statistics say that there are none.
func TestNewContactsNeverScanAll(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	pgtest.Exec(t, pool, "VACUUM ANALYZE contacts")
	s := ingest.NewStore(pool)
	for batch := range 20 {
		var events []presence.Event
		for i := range 20 {
			events = append(events, contactEvent("i", fmt.Sprint(batch, "-", i), noon))
		}
		write(t, s, events...)
	}
	if rows := scanned(t, pool, "contacts"); rows > 0 {
		t.Errorf("%d contacts were read without the index", rows)
	}
}

// scanned returns how many rows of tables have been read without an index. It closes the pool's connections, which report it
// when they end.
func scanned(t *testing.T, pool *pgxpool.Pool, tables string) (rows int64) {
	t.Helper()
	for pool.Stat().IdleConns() > 0 {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Hijack().Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	err := pool.QueryRow(t.Context(), "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE $1", tables).Scan(&rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestConcurrentStoresAddTheSameContacts(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const stores, rounds, contacts = 4, 6, 500
	all := make([]*ingest.Store, stores)
	for n := range all {
		all[n] = ingest.NewStore(pool)
	}
	for round := range rounds { // in the first round the instances are new too
		var wg sync.WaitGroup
		for n, s := range all {
			wg.Go(func() {
				var batch []presence.Event
				for k := range contacts {
					k = (k*7 + n*13) % contacts // in another order in each store
					batch = append(batch, presence.Event{
						InstanceID: fmt.Sprint("i", k%5), Phone: fmt.Sprint(round, k), Status: a,
						ReceivedAt: noon.Add(time.Duration(n) * time.Second),
					})
				}
				var err error
				if n%2 == 0 {
					err = s.Write(t.Context(), batch)
				} else {
					_, err = s.Merge(t.Context(), batch)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	var instances, phones, events int
	err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM contacts), (SELECT count(*) FROM events)").
		Scan(&instances, &phones, &events)
	if err != nil || instances != 5 || phones != contacts*rounds || events != stores*contacts*rounds {
		t.Errorf("%d instances, %d contacts, %d events (%v)", instances, phones, events, err)
	}
}

func TestContactIsFoundAfterAFailedWrite(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	bad := event(a, noon, 0)
	bad.Extra = []byte("no JSON")
	if err := s.Write(t.Context(), []presence.Event{bad}); postgres.ErrorCode(err) != pgerrcode.InvalidTextRepresentation {
		t.Fatalf("extra that is not JSON: %v", err)
	}
	write(t, s, event(a, noon, 0)) // of the same contact
	want(t, pool, "[a]")
}
