// Package erasure deletes every trace of a contact or an instance, and keeps events of erased ones from returning: from the
// spool, by an import, or, if blocked, by new events.
package erasure

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	refreshInterval = 500 * time.Millisecond
	refreshTimeout  = 2 * time.Second
)

type subject [sha256.Size]byte

// subjectOf returns the keyed hash of a contact or, for an empty phone, of an instance.
func subjectOf(key []byte, instanceID, phone string) (s subject) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(instanceID))
	if phone != "" {
		h.Write([]byte{0}) // which no instance and no phone has
		h.Write([]byte(phone))
	}
	h.Sum(s[:0])
	return s
}

// List has the erasures. It may be used by several goroutines.
type List struct {
	conn  db.DBTX
	known atomic.Pointer[known]
}

type known struct {
	key     []byte
	entries map[subject]entry
}

type entry struct {
	blocked bool
	before  time.Time
}

// NewList returns a List that is empty until Refresh.
func NewList(conn db.DBTX) *List {
	l := &List{conn: conn}
	l.known.Store(&known{})
	return l
}

// Refresh reads the erasures from the database, if that responds soon.
func (l *List) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	return l.read(ctx)
}

func (l *List) read(ctx context.Context) error {
	q := db.New(l.conn)
	key, err := q.ErasureKey(ctx)
	if err != nil {
		return err
	}
	rows, err := q.ListErasures(ctx)
	if err != nil {
		return err
	}
	k := &known{key: key, entries: make(map[subject]entry, len(rows))}
	for _, r := range rows {
		s := subject(r.Subject)
		e := k.entries[s]
		e.blocked = e.blocked || r.Blocked
		e.before = presence.Later(e.before, r.ErasedAt.Time)
		k.entries[s] = e
	}
	l.known.Store(k)
	return nil
}

// Run refreshes the list until ctx ends, and calls changed after erasures.
func (l *List) Run(ctx context.Context, log *slog.Logger, changed func()) {
	var before map[subject]entry
	failures := rate.Sometimes{Interval: time.Minute}
	ticks := time.Tick(refreshInterval)
	for {
		select {
		case <-ticks:
			// While the database is away, nothing can be erased.
			if err := l.Refresh(ctx); err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
				failures.Do(func() { log.Warn("reading the list of erasures", "error", err) })
			}
			if now := l.known.Load().entries; !maps.Equal(before, now) {
				before = now
				changed()
			}
		case <-ctx.Done():
			return
		}
	}
}

// Erased reports whether an event must not be stored: its contact or instance is blocked, or was erased after the event.
func (l *List) Erased(e *presence.Event) bool {
	k := l.known.Load()
	if len(k.entries) == 0 {
		return false
	}
	for _, phone := range [...]string{e.Phone, ""} {
		if entry, ok := k.entries[subjectOf(k.key, e.InstanceID, phone)]; ok && (entry.blocked || !e.ReceivedAt.After(entry.before)) {
			return true
		}
	}
	return false
}

// Keep reads the list and returns the events that may be stored. Contacts may have been erased while their events were in
// the spool.
func (l *List) Keep(ctx context.Context, events []presence.Event) ([]presence.Event, error) {
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	erased := func(e presence.Event) bool { return l.Erased(&e) }
	if !slices.ContainsFunc(events, erased) {
		return events, nil
	}
	return slices.DeleteFunc(slices.Clone(events), erased), nil
}
