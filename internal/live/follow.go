package live

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	pollInterval      = time.Second
	minPollInterval   = 50 * time.Millisecond // between hints
	pollTimeout       = 10 * time.Second
	overlap           = 3 * time.Second        // how long after its arrival an event may be committed for polling to find it
	minOverlap        = 100 * time.Millisecond // the same in most polls, since a full overlap costs too much
	fullInterval      = 3 * time.Second        // between polls with the full overlap
	reconcileInterval = 30 * time.Second
	reconcileSoon     = 3 * time.Second
	afterFailure      = time.Minute
	statesAtOnce      = 1000
)

// follow reads events of other processes from the database, each second and after each hint.
func (h *Hub) follow(ctx context.Context) {
	var f follower
	tick := time.Tick(pollInterval)
	for {
		hinted := false
		select {
		case <-ctx.Done():
			return
		case <-tick:
			h.sleep()
		case <-h.pollNow:
			hinted = true
		}
		if !h.awake.Load() {
			continue
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, pollTimeout)
		err := f.poll(limited, h, hinted)
		cancel()
		if err != nil {
			f.failedAt = h.now()
		}
		h.warn(ctx, "reading changes for live clients", err)
		_ = presence.Sleep(ctx, max(minPollInterval, min(time.Since(began), pollInterval)))
	}
}

// follower says how far the database has been read.
type follower struct {
	epoch          string // of the hub's journal
	database       int64  // identity of the database that the hub's contact ids are from
	until          time.Time
	before         time.Time // until of the previous poll
	fullyUntil     time.Time // the same for events that were committed late
	fullAt         time.Time // when that was read, by the system's clock
	others         bool      // other processes have written events recently
	timeoutsAt     time.Time
	reconcileAt    time.Time
	longestTimeout time.Duration // that a status lasts without an event
	failedAt       time.Time     // when reading last failed
}

func (f *follower) poll(ctx context.Context, h *Hub, hinted bool) error {
	h.mu.Lock()
	if epoch := h.journal.epoch; epoch != f.epoch {
		*f = follower{epoch: epoch, failedAt: f.failedAt}
	}
	h.mu.Unlock()
	if h.now().After(f.timeoutsAt) {
		if err := f.readTimeouts(ctx, h); err != nil {
			return err
		}
	}
	started := h.now()
	if !f.failedAt.IsZero() && f.until.Before(f.failedAt) {
		f.reconcileAt = started
	}
	full := true
	var err error
	switch {
	case f.until.IsZero():
		err = f.load(ctx, h)
	case !started.Before(f.reconcileAt):
		err = f.reconcile(ctx, h)
	default:
		full = time.Since(f.fullAt) >= fullInterval
		err = f.readRecent(ctx, h, started, hinted, full)
	}
	if err != nil {
		return err
	}
	f.before, f.until = f.until, started
	if full {
		f.fullyUntil, f.fullAt = started, time.Now()
	}
	signal(h.clarifyNow) // retry those that failed
	return nil
}

// readRecent reads the latest events if other processes write any. It starts where the poll before the last one ended: if
// everything is slow, events may take longer to be committed. With full, it also finds events that took longer.
func (f *follower) readRecent(ctx context.Context, h *Hub, now time.Time, hinted, full bool) error {
	from, latest := f.until.Add(-minOverlap), hinted || f.others
	if !f.before.IsZero() && f.before.Before(from) {
		from = f.before
	}
	if latest {
		if err := f.read(ctx, h, from, postgres.Infinity); err != nil || !full {
			return err
		}
	}
	if full {
		from = f.fullyUntil.Add(-overlap)
	}
	after, until, any, err := h.unknown(ctx, from, now)
	f.others = hinted || any
	switch {
	case err != nil || !any:
		return err
	case latest:
		return f.read(ctx, h, after, postgres.Time(until))
	}
	return f.read(ctx, h, after, postgres.Infinity)
}

func (f *follower) read(ctx context.Context, h *Hub, after time.Time, until pgtype.Timestamptz) error {
	rows, err := h.q.RecentEvents(ctx, db.RecentEventsParams{After: postgres.Time(after), Until: until})
	if err != nil {
		return err
	}
	return f.add(ctx, h, rows, func(batch []entry) { h.apply(batch, true) })
}

// load reads the states of contacts that may be in the chat. These are not changes, so it sends no messages.
func (f *follower) load(ctx context.Context, h *Hub) error {
	rows, err := f.lastEvents(ctx, h)
	if err != nil {
		return err
	}
	err = f.add(ctx, h, rows, func(batch []entry) {
		now := h.now()
		for _, e := range batch {
			c := h.add(e.name)
			c.last = e.event
			var next time.Time
			c.announced.Status, c.announced.Since, next = c.status(now, h.timeoutsOf(e.instanceID))
			h.heap.set(c, next)
		}
		h.loaded = true
		close(h.ready)
		h.afterwards()
	})
	f.reconcileAt = h.now().Add(reconcileInterval)
	return err
}

// reconcile reads the last event of all contacts that may be in the chat: it may have arrived too late for polling, by an
// import or from a spool.
func (f *follower) reconcile(ctx context.Context, h *Hub) error {
	started := time.Now()
	rows, err := f.lastEvents(ctx, h)
	if err != nil {
		return err
	}
	err = f.add(ctx, h, rows, func(batch []entry) {
		h.forget()
		for _, e := range batch {
			if c := h.contacts[e.name]; c == nil || e.after(c.last) {
				h.unclear[e.name] = struct{}{} // there may be earlier ones
			}
		}
	})
	interval := reconcileInterval
	if h.now().Sub(f.failedAt) < afterFailure { // the database was away, so events arrive from spools
		interval = reconcileSoon
	}
	f.reconcileAt = h.now().Add(max(interval, 20*time.Since(started)))
	return err
}

func (f *follower) lastEvents(ctx context.Context, h *Hub) ([]db.RecentEventsRow, error) {
	last, err := h.q.LastRecentEvents(ctx, postgres.Time(h.now().Add(-f.longestTimeout-overlap)))
	rows := make([]db.RecentEventsRow, len(last))
	for i, row := range last {
		rows[i] = db.RecentEventsRow(row)
	}
	return rows, err
}

// add converts rows to events of contacts and passes them to a function, with the hub locked.
func (f *follower) add(ctx context.Context, h *Hub, rows []db.RecentEventsRow, to func([]entry)) error {
	names := map[int32]name{}
	database := f.database
	if len(rows) > 0 {
		var err error
		if database, err = h.q.DatabaseIdentity(ctx); err != nil {
			return err
		}
	}
	h.mu.Lock()
	if database != f.database { // a restored one may have other contacts with these ids
		clear(h.byID)
		f.database = database
	}
	var unknown []int32
	for _, row := range rows {
		if c := h.byID[row.ContactID]; c != nil {
			names[row.ContactID] = c.name
		} else if _, asked := names[row.ContactID]; !asked {
			names[row.ContactID] = name{}
			unknown = append(unknown, row.ContactID)
		}
	}
	h.mu.Unlock()
	if len(unknown) > 0 {
		found, err := h.q.ContactNames(ctx, unknown)
		if err != nil {
			return err
		}
		for _, row := range found {
			names[row.ID] = name{row.Instance, row.Phone}
		}
	}
	batch := make([]entry, 0, len(rows))
	for _, row := range rows {
		if n := names[row.ContactID]; n != (name{}) { // otherwise the contact has been erased
			batch = append(batch, entry{n, event{presence.Status(row.Status), row.ReceivedAt.Time.UTC(), row.Seq}})
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.journal.epoch != f.epoch {
		return nil // it has been asleep since
	}
	to(batch)
	for _, id := range unknown {
		if c := h.contacts[names[id]]; c != nil {
			h.byID[id] = c
		}
	}
	return nil
}

// clarify reads states from the database that the hub cannot compute. This may take longer than polling, which must not wait
// for it.
func (h *Hub) clarify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.clarifyNow:
		}
		limited, cancel := context.WithTimeout(ctx, pollTimeout)
		err := h.readUnclear(limited)
		cancel()
		h.warn(ctx, "reading states for live clients", err)
		_ = presence.Sleep(ctx, minPollInterval)
	}
}

// warn logs an error, unless the database is away, which is logged elsewhere.
func (h *Hub) warn(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) && !errors.Is(err, context.Canceled) {
		h.log.Warn(what, "error", err)
	}
}

func (h *Hub) readUnclear(ctx context.Context) error {
	h.mu.Lock()
	epoch := h.journal.epoch
	h.mu.Unlock()
	again := map[name]struct{}{}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.journal.epoch == epoch && h.unclear != nil {
			maps.Copy(h.unclear, again)
		}
	}()
	for {
		var ask db.CurrentStatesParams
		h.mu.Lock()
		for n := range h.unclear {
			delete(h.unclear, n) // an event during the query adds it again
			ask.Instances, ask.Phones = append(ask.Instances, n.instanceID), append(ask.Phones, n.phone)
			if len(ask.Phones) == statesAtOnce {
				break
			}
		}
		h.mu.Unlock()
		if len(ask.Phones) == 0 {
			return nil
		}
		rows, err := h.q.CurrentStates(ctx, ask)
		if err != nil {
			for i := range ask.Phones {
				again[name{ask.Instances[i], ask.Phones[i]}] = struct{}{}
			}
			return err
		}
		h.mu.Lock()
		if h.journal.epoch == epoch && h.unclear != nil {
			for _, row := range rows {
				n := name{row.Instance, row.Phone}
				if !h.correct(n, event{presence.Status(row.Status), row.ReceivedAt.Time.UTC(), row.Seq}, row.Since.Time.UTC()) {
					again[n] = struct{}{} // its last event is in a spool, or new
				}
			}
			h.afterwards()
		}
		h.mu.Unlock()
	}
}

// correct sets a contact's state from the database, unless the hub has a later event.
func (h *Hub) correct(n name, last event, since time.Time) bool {
	c := h.contacts[n]
	if c == nil {
		c = h.add(n)
	}
	if c.last.after(last) {
		return false
	}
	if last.after(c.last) {
		c.previous, c.last = c.last, last
	}
	c.since = since
	h.announce(c, h.now())
	return true
}

// readTimeouts reads the settings. If one has changed, all states are computed again.
func (f *follower) readTimeouts(ctx context.Context, h *Hub) error {
	rows, err := h.q.LiveTimeouts(ctx)
	if err != nil {
		return err
	}
	timeouts := map[string]presence.Timeouts{}
	var longest time.Duration
	for _, row := range rows {
		t := presence.Timeouts{
			Typing:    time.Duration(row.Typing) * time.Microsecond,
			Recording: time.Duration(row.Recording) * time.Microsecond,
			Presence:  time.Duration(row.Presence) * time.Microsecond,
		}
		timeouts[row.Instance] = t
		longest = max(longest, max(t.Typing, t.Recording)+t.Presence)
	}
	f.timeoutsAt, f.longestTimeout = h.now().Add(pollInterval-minPollInterval), longest
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := !maps.Equal(timeouts, h.timeouts)
	h.timeouts = timeouts
	if !changed || !h.loaded {
		return nil
	}
	f.reconcileAt = time.Time{} // a status may last longer now
	now := h.now()
	for _, c := range h.contacts {
		c.since = time.Time{} // a timeout may have begun the status
		h.announce(c, now)
	}
	h.afterwards()
	return nil
}
