// Package live sends status changes to clients as they happen, by events and by timeouts. It gets events from the process's own
// writer right after the commit, and events of other processes from the database. It is a feed of state, not of history: after
// a gap, a client gets the current state of what has changed. Without clients it does nothing.
package live

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	linger       = time.Minute // after the last client has disconnected, so that it can resume
	incomingSize = 256         // batches of the writer that wait to be delivered
	forgetAfter  = 10 * time.Minute
	unseen       = time.Minute // before a contact's first event: an earlier event by another process may still arrive
)

// Hub has the state of all contacts that are or recently were in the chat, and sends changes to clients.
type Hub struct {
	pool   *pgxpool.Pool
	q      *db.Queries
	log    *slog.Logger
	now    func() time.Time
	cancel context.CancelFunc
	ended  sync.WaitGroup

	disconnected chan struct{} // closed by Disconnect
	disconnect   sync.Once

	awake      atomic.Bool // there are clients
	incoming   chan []entry
	pollNow    chan struct{} // has room for one signal
	clarifyNow chan struct{} // the same, about contacts that are unclear

	notifyNow   chan struct{} // the same, to tell other processes
	listenerPID atomic.Int32  // of this process's own listener

	mu       sync.Mutex
	clients  clients
	idleFrom time.Time // when the last client left
	journal  journal
	contacts map[name]*contact
	byID     map[int32]*contact // by the database's id, if known
	timeouts map[string]presence.Timeouts
	heap     timeoutHeap
	recent   recent
	unclear  map[name]struct{} // their states must be read from the database
	loaded   bool
	ready    chan struct{} // closed when loaded
	timer    *time.Timer
}

type name struct{ instanceID, phone string }

// entry is an event of a contact.
type entry struct {
	name
	event
}

// New starts a Hub that reads through pool, which needs three connections. Close ends it.
func New(pool *pgxpool.Pool, log *slog.Logger, now func() time.Time) *Hub {
	ctx, cancel := context.WithCancel(context.Background())
	h := &Hub{
		pool: pool, q: db.New(pool), log: log, now: now, cancel: cancel,
		incoming: make(chan []entry, incomingSize), pollNow: make(chan struct{}, 1), clarifyNow: make(chan struct{}, 1),
		notifyNow: make(chan struct{}, 1), clients: clients{at: map[name]map[*Client]struct{}{}}, timer: time.NewTimer(time.Hour), disconnected: make(chan struct{}),
	}
	h.ended.Go(func() { h.deliver(ctx) })
	h.ended.Go(func() { h.follow(ctx) })
	h.ended.Go(func() { h.clarify(ctx) })
	h.ended.Go(func() { h.listen(ctx) })
	h.ended.Go(func() { h.notify(ctx) })
	return h
}

// Disconnect ends all clients, including later ones.
func (h *Hub) Disconnect() { h.disconnect.Do(func() { close(h.disconnected) }) }

// Close ends the Hub.
func (h *Hub) Close() {
	h.Disconnect()
	h.cancel()
	h.ended.Wait()
}

// Durable accepts events that have just become durable. It never waits, and does not keep the slice.
func (h *Hub) Durable(events []presence.Event) {
	signal(h.notifyNow)
	if !h.awake.Load() {
		return
	}
	batch := make([]entry, len(events))
	for i := range events {
		e := &events[i]
		batch[i] = entry{name{e.InstanceID, e.Phone}, event{e.Status, e.ReceivedAt, e.Seq}}
	}
	select {
	case h.incoming <- batch:
	default:
		signal(h.pollNow) // the database has them too
	}
}

// Subscribe adds a client. With the ID of its last message, its queue begins with the current state of the contacts that have
// changed since then. If the hub no longer knows which have changed, it sets Resync.
func (h *Hub) Subscribe(f Filter, lastID string) *Client {
	c := &Client{hub: h, filter: f, Ended: h.disconnected, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.awake.Load() {
		h.contacts, h.byID, h.unclear, h.recent = map[name]*contact{}, map[int32]*contact{}, map[name]struct{}{}, recent{}
		h.journal, h.heap, h.loaded = newJournal(h.now()), nil, false
		h.ready = make(chan struct{})
		h.awake.Store(true)
		signal(h.pollNow)
	}
	if lastID != "" {
		missed, ok := h.journal.since(lastID)
		c.Resync = !ok
		for _, m := range missed {
			if latest := h.contacts[name{m.InstanceID, m.Phone}]; latest != nil && latest.message == m && f.match(m) {
				c.queue = append(c.queue, m)
			}
		}
		if len(c.queue) > 0 {
			signal(c.wake)
		}
	}
	c.Ready = h.ready
	h.clients.add(c)
	return c
}

// Clients returns the number of clients.
func (h *Hub) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients.count
}

func (h *Hub) remove(c *Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients.remove(c)
	h.idleFrom = h.now()
}

// deliver applies events of the process's own writer, and timeouts.
func (h *Hub) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-h.incoming:
			h.mu.Lock()
			// Before the states are loaded, a contact's previous status is unknown. Loading finds the event.
			if h.loaded {
				h.apply(batch, false)
			}
			h.mu.Unlock()
		case <-h.timer.C:
			h.mu.Lock()
			h.expire()
			h.mu.Unlock()
		}
	}
}

// apply adds events and announces changes. If the events do not say when a status began, the state is read from the database.
// Polled events may be duplicates.
func (h *Hub) apply(batch []entry, polled bool) {
	now := h.now()
	for _, e := range batch {
		c := h.contacts[e.name]
		known := c != nil
		if !known {
			c = h.add(e.name)
		}
		if !h.recent.add(c, e.event, now) {
			continue
		}
		switch {
		case !known:
			c.previous.at = e.at.Add(-unseen)
			c.last = e.event
			if e.status == presence.Unavailable { // perhaps for long
				h.unclear[e.name] = struct{}{}
				continue
			}
			c.since = e.at
		case e.after(c.last):
			c.add(e.event, h.timeoutsOf(e.instanceID))
		case polled && (!c.last.after(e.event) || !e.after(c.previous)):
			continue
		default: // it is late, and may have begun or ended a status
			h.unclear[e.name] = struct{}{}
			continue
		}
		h.announce(c, now)
	}
	h.afterwards()
}

// afterwards starts the next steps after a change of states.
func (h *Hub) afterwards() {
	if len(h.unclear) > 0 {
		signal(h.clarifyNow)
	}
	if len(h.heap) > 0 {
		h.timer.Reset(max(h.heap[0].next.Sub(h.now()), time.Millisecond))
	}
}

func (h *Hub) add(n name) *contact {
	c := &contact{name: n, index: -1}
	h.contacts[n] = c
	return c
}

// announce sends the state of a contact to clients if its status or the status' start has changed.
func (h *Hub) announce(c *contact, now time.Time) {
	status, since, next := c.status(now, h.timeoutsOf(c.instanceID))
	h.heap.set(c, next)
	c.announced.LastEventAt = c.last.at
	if status == c.announced.Status && since.Equal(c.announced.Since) {
		return
	}
	if c.announced.Status == 0 && status == presence.Unavailable && since.Before(c.last.at) {
		c.announced.Status, c.announced.Since = status, since // not a change: the contact was not tracked before
		return
	}
	if since.IsZero() {
		h.unclear[c.name] = struct{}{}
		return
	}
	previous := c.announced.Status
	c.announced = State{c.instanceID, c.phone, status, since, c.last.at}
	c.message = &Message{State: c.announced, Previous: previous}
	h.journal.add(c.message)
	h.clients.put(c.message)
}

// expire announces statuses that have timed out.
func (h *Hub) expire() {
	now := h.now()
	for len(h.heap) > 0 && !h.heap[0].next.After(now) {
		h.announce(h.heap[0], now)
	}
	h.afterwards()
}

func (h *Hub) timeoutsOf(instanceID string) presence.Timeouts {
	if t, ok := h.timeouts[instanceID]; ok {
		return t
	}
	return h.timeouts[""]
}

// sleep drops all states some time after the last client has disconnected.
func (h *Hub) sleep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.clients.count == 0 && h.awake.Load() && h.now().Sub(h.idleFrom) > linger {
		h.awake.Store(false)
		h.contacts, h.byID, h.unclear, h.recent, h.heap, h.loaded, h.journal = nil, nil, nil, nil, nil, false, journal{}
	}
}

// Forget removes contacts whose last event was erased.
func (h *Hub) Forget(erased func(*presence.Event) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n, c := range h.contacts {
		if erased(&presence.Event{InstanceID: n.instanceID, Phone: n.phone, ReceivedAt: c.last.at}) {
			h.heap.set(c, time.Time{})
			delete(h.contacts, n)
			delete(h.unclear, n)
		}
	}
	h.forget()
}

// forget drops contacts that left the chat long ago. The caller holds the lock.
func (h *Hub) forget() {
	now := h.now()
	for n, c := range h.contacts {
		if c.announced.Status == presence.Unavailable && now.Sub(c.announced.Since) > forgetAfter && now.Sub(c.last.at) > forgetAfter {
			delete(h.contacts, n)
		}
	}
	for id, c := range h.byID {
		if h.contacts[c.name] != c {
			delete(h.byID, id)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// timeoutHeap has the contacts whose status changes by a timeout, the next one first.
type timeoutHeap []*contact

func (t timeoutHeap) Len() int           { return len(t) }
func (t timeoutHeap) Less(i, j int) bool { return t[i].next.Before(t[j].next) }
func (t timeoutHeap) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push is for package heap.
func (t *timeoutHeap) Push(x any) {
	c := x.(*contact)
	c.index = len(*t)
	*t = append(*t, c)
}

// Pop is for package heap.
func (t *timeoutHeap) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last], *t = nil, (*t)[:last]
	c.index = -1
	return c
}

// set adds, moves or removes a contact.
func (t *timeoutHeap) set(c *contact, next time.Time) {
	c.next = next
	switch {
	case next.IsZero() && c.index >= 0:
		heap.Remove(t, c.index)
	case next.IsZero():
	case c.index < 0:
		heap.Push(t, c)
	default:
		heap.Fix(t, c.index)
	}
}
