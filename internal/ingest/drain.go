package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

const (
	drainPause  = 200 * time.Millisecond // between looks at the spool, and tries of a database that is away
	drainEvents = 1000                   // at once
	drainBound  = 10 * time.Second       // for so many, and longer each time that it was not enough
	drainLimit  = 2 * time.Minute        // of that
	drainTold   = time.Minute            // between reports that it does not succeed
)

// drain moves what is in the spool to the database, oldest first, and finds out when a database that was away is back. A
// segment is removed when all of it is committed; after a crash half way its events are written again, which does nothing
// to those that are there.
func (w *Writer) drain(ctx context.Context, prepare func(context.Context) error) {
	defer w.ended.Done()
	store := NewStore(w.pool)
	var told time.Time
	w.patience = drainBound
	for ctx.Err() == nil {
		err := w.drainOnce(ctx, store, &prepare)
		if errors.Is(err, context.DeadlineExceeded) {
			w.patience = min(2*w.patience, drainLimit) // a database that is slow must not keep the spool for ever
		}
		if err != nil && ctx.Err() == nil && time.Since(told) > drainTold {
			w.log.Warn("the spool has to wait", "error", err)
			told = time.Now()
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
		}
	}
}

func (w *Writer) drainOnce(ctx context.Context, store *Store, prepare *func(context.Context) error) error {
	if *prepare != nil {
		if err := (*prepare)(ctx); err != nil {
			return err
		}
		*prepare = nil
	}
	if w.away.Load() {
		// The first batch of the spool, if there is one, shows whether the database takes events.
		if w.spool.Bytes() == 0 {
			w.away.Store(false)
			return nil
		}
	}
	drained, err := w.empty(ctx, store, w.spool)
	if drained > 0 {
		w.log.Info("moved events from the spool to the database", "events", drained)
	}
	if err != nil {
		return err
	}
	for _, other := range w.spool.Abandoned() {
		if err == nil {
			drained, err = w.empty(ctx, store, other)
			if drained > 0 {
				w.log.Info("moved events of a process that ended from its spool to the database", "events", drained)
			}
		}
		other.Close()
	}
	return err
}

// empty writes all segments of a spool to the database.
func (w *Writer) empty(ctx context.Context, store *Store, from *spool.Spool) (drained int, err error) {
	for {
		segment, err := from.Oldest()
		if err != nil || segment == nil {
			return drained, err
		}
		events, refused, err := decodeRecords(segment.Records)
		if err != nil {
			return drained, err
		}
		for start := 0; start < len(events); start += drainEvents {
			some := events[start:min(start+drainEvents, len(events))]
			if err := w.move(ctx, store, some); err != nil {
				return drained, err
			}
			w.away.Store(false)
			w.patience = drainBound
			drained += len(some)
			w.meter.Drained(len(some))
		}
		for _, r := range refused {
			if err := w.moveRefused(ctx, r); err != nil {
				return drained, err
			}
			w.away.Store(false)
		}
		if err := from.Remove(segment); err != nil {
			return drained, err
		}
	}
}

// move writes events; one that the database refuses goes to the quarantine instead of holding up all others.
func (w *Writer) move(ctx context.Context, store *Store, events []presence.Event) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	err := store.Write(ctx, events)
	if !refusesData(err) {
		return err
	}
	if len(events) > 1 {
		if err := w.move(ctx, store, events[:len(events)/2]); err != nil {
			return err
		}
		return w.move(ctx, store, events[len(events)/2:])
	}
	w.log.Error("the database refuses an event; it goes to the quarantine", "error", err)
	e := events[0]
	body := gateway.AppendZAPI(nil, e)
	return w.moveRefused(ctx, Refused{
		ID:         uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d %s", e.ReceivedAt, e.Seq, body)),
		ReceivedAt: e.ReceivedAt, Gateway: "zapi", Reason: "the database refuses it: " + err.Error(), Body: body,
	})
}

func (w *Writer) moveRefused(ctx context.Context, r Refused) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	return addQuarantine(ctx, db.New(w.pool), r)
}
