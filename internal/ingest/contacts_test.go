package ingest_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// statements notes the names of the statements that a pool sends.
type statements struct {
	mu   sync.Mutex
	sent []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _, _ := strings.Cut(strings.TrimPrefix(q.SQL, "-- name: "), " ")
	s.sent = append(s.sent, name)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	var names []string
	for _, q := range b.Batch.QueuedQueries {
		name, _, _ := strings.Cut(strings.TrimPrefix(q.SQL, "-- name: "), " ")
		names = append(names, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, "batch:"+strings.Join(names, ","))
	return ctx
}

func (*statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// take returns the statements since the last call.
func (s *statements) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := strings.Join(s.sent, " ")
	s.sent = nil
	return sent
}

// traced returns a pool whose statements are noted.
func traced(t *testing.T) (*pgxpool.Pool, *statements) {
	t.Helper()
	s := &statements{}
	return tracedOn(t, pgtest.New(t).Config(), s), s
}

func tracedOn(t *testing.T, config *pgxpool.Config, s *statements) *pgxpool.Pool {
	t.Helper()
	config = config.Copy()
	config.ConnConfig.Tracer = s
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func contactEvent(instance, phone string, at time.Time) presence.Event {
	return presence.Event{InstanceID: instance, Phone: phone, Status: presence.Available, ReceivedAt: at}
}

func TestOnlyUncachedInstancesAndContactsAreResolved(t *testing.T) {
	t.Parallel()
	pool, sent := traced(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 0)) // which makes the partition
	sent.take()
	write(t, s, contactEvent("i", "q", noon), contactEvent("j", "p", noon), contactEvent("j", "r", noon))
	if got := sent.take(); got != "ResolveInstances ResolveContacts InsertEvents" {
		t.Errorf("a new instance: sent %s", got)
	}
	write(t, s, contactEvent("i", "s", noon), contactEvent("j", "s", noon))
	if got := sent.take(); got != "ResolveContacts InsertEvents" {
		t.Errorf("new contacts: sent %s", got)
	}
	write(t, s, contactEvent("i", "q", noon.Add(time.Second)), contactEvent("j", "r", noon.Add(time.Second)))
	if got := sent.take(); got != "InsertEvents" {
		t.Errorf("cached contacts: sent %s", got)
	}
	write(t, ingest.NewStore(pool), contactEvent("i", "q", noon.Add(time.Minute)), contactEvent("j", "p", noon.Add(time.Minute)))
	if got := sent.take(); got != "ResolveInstances ResolveContacts InsertEvents" {
		t.Errorf("contacts that only the database has: sent %s", got)
	}
}

func TestMoreConnectionsKeepTheContactIDCache(t *testing.T) {
	t.Parallel()
	pool, sent := traced(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 0))
	pool.Reset()
	made := pool.Stat().NewConnsCount()
	sent.take()
	write(t, s, event(a, noon.Add(time.Second), 0))
	if got := sent.take(); got != "InsertEvents" || pool.Stat().NewConnsCount() == made {
		t.Errorf("sent %s, over %d new connections", got, pool.Stat().NewConnsCount()-made)
	}
}

// A standby that takes over may lack the last contacts, and has given their ids to others. Here another database does.
func TestFailoverDropsTheContactIDCache(t *testing.T) {
	t.Parallel()
	first, standby := pgtest.New(t), pgtest.New(t)
	for i, phone := range []string{"x", "y", "p", "q"} { // the first two have ids there that p and q have here
		write(t, ingest.NewStore(standby), contactEvent("i", phone, noon.Add(time.Duration(i)*time.Hour)))
	}
	var mu sync.Mutex
	target := first
	config := first.Config().Copy()
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		mu.Lock()
		defer mu.Unlock()
		c.Host, c.Port, c.Database = target.Config().ConnConfig.Host, target.Config().ConnConfig.Port, target.Config().ConnConfig.Database
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	writes := map[string]func(*ingest.Store, ...presence.Event){
		"in time": func(s *ingest.Store, events ...presence.Event) { write(t, s, events...) },
		"merged": func(s *ingest.Store, events ...presence.Event) {
			if _, err := s.Merge(t.Context(), events); err != nil {
				t.Error(err)
			}
		},
	}
	stores := map[string]*ingest.Store{}
	for name := range writes {
		stores[name] = ingest.NewStore(pool)
		write(t, stores[name], contactEvent("i", "p", noon.Add(time.Second)), contactEvent("i", "q", noon.Add(time.Second)))
	}
	mu.Lock()
	target = standby
	mu.Unlock()
	pool.Reset()
	at := noon.Add(time.Minute)
	for name, w := range writes {
		at = at.Add(time.Minute)
		w(stores[name], contactEvent("i", "p", at), contactEvent("i", "q", at)) // whose ids are cached
		w(stores[name], contactEvent("i", "new", at))
	}
	var of string
	err = standby.QueryRow(t.Context(), `SELECT string_agg(phone || n, ' ' ORDER BY phone) FROM (
		SELECT c.phone, count(*) AS n FROM events AS e LEFT JOIN contacts AS c ON c.id = e.contact_id GROUP BY c.phone) AS s`).Scan(&of)
	if want := "new2 p3 q3 x1 y1"; err != nil || of != want {
		t.Errorf("the standby has events of %s, %v; want %s", of, err, want)
	}
}

// After a clock was set back by an hour, all batches are late.
func TestLateBatchesTakeOneRoundTrip(t *testing.T) {
	t.Parallel()
	pool, sent := traced(t)
	s := ingest.NewStore(pool)
	s.ExpectLate(time.Hour) // however long the next batch takes to come
	write(t, s, event(a, noon, 0))
	ingest.SetCutoff(t, pool, noon.Add(time.Hour))
	write(t, s, event(a, noon.Add(time.Second), 0)) // which finds out
	sent.take()
	write(t, s, event(a, noon.Add(2*time.Second), 0))
	if got := sent.take(); got != "batch:InsertMissingEvents,MarkLate,CheckDatabase" {
		t.Errorf("a late batch sent %s", got)
	}
	want(t, pool, "[a][a][a]")
}

// After a restart, contacts need not be looked up again.
func TestWriterWarmsTheContactIDCache(t *testing.T) {
	t.Parallel()
	pool, sent := traced(t)
	write(t, ingest.NewStore(pool), event(a, noon, 0))
	w := ingest.NewWriter(config(t, pool))
	t.Cleanup(w.Close)
	pgtest.Eventually(t, "the cache is warm", func() bool { return w.CachedContacts() == 1 })
	sent.take()
	e := event(a, noon.Add(time.Second), 0)
	if err := w.Write(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	if got := sent.take(); strings.Contains(got, "ResolveContacts") {
		t.Errorf("sent %s", got)
	}
}

// What is over a limit does not keep the rest of its batch from being written, nor is it counted as written.
func TestEventsOverTheLimitsAreLeftOutOfTheirBatch(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := config(t, pool)
	c.Limits.ContactsPerHour = 2
	var durable atomic.Int64
	c.Durable = func(events []presence.Event) { durable.Add(int64(len(events))) }
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	first := event(a, noon, 0)
	if err := w.Write(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	release := hold(t, pool, "events")
	t.Cleanup(release)
	var wg sync.WaitGroup
	var over atomic.Int64
	send := func(phone string) {
		e := contactEvent("i", phone, noon.Add(time.Second))
		wg.Go(func() {
			err := w.Write(t.Context(), &e)
			if limit := (*ingest.LimitError)(nil); errors.As(err, &limit) && limit.What == "contacts" && limit.PerHour == 2 {
				over.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	send("p")
	pgtest.Eventually(t, "a batch waits for the lock", func() bool { return waits(t, pool, "events") })
	for _, phone := range []string{"p", "q", "r", "s", "p"} {
		send(phone)
	}
	pgtest.Eventually(t, "the others gather", func() bool { return w.Queued() == 5 })
	release()
	wg.Wait()
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events"); over.Load() != 2 || n != 5 || durable.Load() != 5 {
		t.Errorf("%d were over the limit, %d events are stored, %d were reported", over.Load(), n, durable.Load())
	}
}

// Each new instance needs a new contact: without a limit of instances, that of contacts applies.
func TestNewInstancesOverTheLimitOfContacts(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := config(t, pool)
	c.Limits.ContactsPerHour = 2
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	release := hold(t, pool, "events")
	t.Cleanup(release)
	var wg sync.WaitGroup
	var over atomic.Int64
	send := func(instance string) {
		e := contactEvent(instance, "p", noon)
		wg.Go(func() {
			err := w.Write(t.Context(), &e)
			if limit := (*ingest.LimitError)(nil); errors.As(err, &limit) && limit.What == "contacts" && limit.PerHour == 2 {
				over.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	send("i")
	pgtest.Eventually(t, "a batch waits for the lock", func() bool { return waits(t, pool, "events") })
	for _, instance := range []string{"j", "k", "l"} {
		send(instance)
	}
	pgtest.Eventually(t, "the others gather", func() bool { return w.Queued() == 3 })
	release()
	wg.Wait()
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events"); over.Load() != 2 || n != 2 {
		t.Errorf("%d were over the limit, %d events are stored", over.Load(), n)
	}
}

// A cache that is full makes room for new contacts, and finds those again that it has dropped.
func TestContactIDCacheStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	s.LimitCache(10)
	var batch []presence.Event
	for i := range 50 {
		batch = append(batch, contactEvent("i", strconv.Itoa(i), noon))
	}
	write(t, s, batch...)
	for i := range batch {
		batch[i].ReceivedAt = noon.Add(time.Second)
	}
	write(t, s, batch...)
	if _, err := s.Merge(t.Context(), []presence.Event{contactEvent("i", "7", noon.Add(time.Hour)), contactEvent("i", "8", noon.Add(time.Hour))}); err != nil {
		t.Error(err)
	}
	if n := s.CachedContacts(); n > 10 {
		t.Errorf("%d ids are cached", n)
	}
	const wrong = "SELECT count(*) FROM contacts AS c WHERE (SELECT count(*) FROM events AS e WHERE e.contact_id = c.id) < 2"
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events"); n != 102 || pgtest.Get[int64](t, pool, wrong) != 0 {
		t.Errorf("%d events, and %d contacts lack some", n, pgtest.Get[int64](t, pool, wrong))
	}
}

func TestDeletedInstanceIsAddedAgain(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write(t, s, event(a, noon, 0))
	pgtest.Exec(t, pool, "DELETE FROM contacts; DELETE FROM instances", pgx.QueryExecModeSimpleProtocol)
	write(t, s, contactEvent("i", "q", noon))
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM events AS e INNER JOIN contacts AS c ON c.id = e.contact_id WHERE c.phone = 'q'"); n != 1 {
		t.Errorf("%d events", n)
	}
}
