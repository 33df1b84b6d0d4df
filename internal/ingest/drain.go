package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

const (
	drainInterval = 200 * time.Millisecond
	drainEvents   = 1000             // in one transaction
	minTimeout    = 10 * time.Second // of a transaction; doubled each time it is exceeded
	maxTimeout    = 2 * time.Minute
)

// Drain moves the records of the spools to the database, oldest first, and notices when the database is back. A segment is
// removed when all of it is committed. After a crash, its events are written again and duplicates are skipped.
type Drain struct {
	w        *Writer
	store    *Store // its own: the Writer's has another goroutine
	spools   []*spool.Spool
	prepare  func(context.Context) error // nil: done
	timeout  time.Duration
	failures rate.Sometimes // are logged
}

// errWrite marks errors of the database; others are errors of the spool.
var errWrite = errors.New("writing to the database")

func newDrain(w *Writer) *Drain {
	c := w.config
	d := &Drain{
		w: w, store: newStore(c.Pool, w.contacts), prepare: c.Prepare, timeout: minTimeout,
		failures: rate.Sometimes{Interval: time.Minute},
	}
	d.store.Keep = c.Keep
	for _, s := range []*spool.Spool{c.Spool, c.Rejected.Spool} {
		if s != nil {
			d.spools = append(d.spools, s)
		}
	}
	return d
}

func (d *Drain) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.once(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			d.timeout = min(2*d.timeout, maxTimeout) // a slow database must not keep the spool from draining
		}
		if err != nil && ctx.Err() == nil {
			d.failures.Do(func() { d.w.config.Log.Warn("draining the spool", "error", err) })
		}
		_ = presence.Sleep(ctx, drainInterval)
	}
}

func (d *Drain) once(ctx context.Context) error {
	if d.prepare != nil {
		if err := d.prepare(ctx); err != nil {
			return err
		}
		d.prepare = nil
	}
	var errs []error
	for _, own := range d.spools {
		err := d.drain(ctx, own, "moved events from the spool to the database")
		for _, abandoned := range own.Abandoned() {
			if !errors.Is(err, errWrite) {
				err = errors.Join(err, d.drain(ctx, abandoned, "moved events of a process that ended from its spool to the database"))
			}
			abandoned.Close()
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	// A successful write shows that the database is back. Without one, check: the spool may be empty or unreadable.
	if d.w.unavailable.Load() && !errors.Is(err, errWrite) {
		ctx, cancel := context.WithTimeout(ctx, minTimeout)
		defer cancel()
		accepts, checkErr := db.New(d.store.pool).AcceptsWrites(ctx)
		if checkErr == nil && accepts {
			d.w.unavailable.Store(false)
		}
		err = errors.Join(err, checkErr)
	}
	return err
}

// drain writes all segments of a spool to the database.
func (d *Drain) drain(ctx context.Context, from *spool.Spool, message string) error {
	drained := 0
	defer func() {
		if drained > 0 {
			d.w.config.Log.Info(message, "events", drained)
		}
	}()
	for {
		segment, err := from.Oldest()
		if err != nil || segment == nil {
			return err
		}
		var events []presence.Event
		var rejected []Rejected
		for i, b := range segment.Records {
			switch r, err := decodeRecord(b); {
			case err != nil:
				from.SetAside(segment, i, err)
			case r.Event != nil:
				events = append(events, r.Event.event())
			default:
				rejected = append(rejected, *r.Rejected)
			}
		}
		for batch := range slices.Chunk(events, drainEvents) {
			if err := d.write(ctx, batch); err != nil {
				return err
			}
			drained += len(batch)
			d.w.config.Metrics.Drained.Add(float64(len(batch)))
		}
		for batch := range slices.Chunk(rejected, maxBatchRejected) {
			if err := d.reject(ctx, batch...); err != nil {
				return err
			}
		}
		if err := from.Remove(segment); err != nil {
			return err
		}
	}
}

// write writes events. An event that the database rejects is kept as a rejected payload, so that it does not block others.
func (d *Drain) write(ctx context.Context, events []presence.Event) error {
	err := d.within(ctx, func(ctx context.Context) error { return d.store.Write(ctx, events) })
	if !refusesData(err) {
		return err
	}
	if len(events) > 1 {
		if err := d.write(ctx, events[:len(events)/2]); err != nil {
			return err
		}
		return d.write(ctx, events[len(events)/2:])
	}
	d.w.config.Log.Error("the database rejects an event; it is kept as a rejected payload", "error", err)
	e := events[0]
	body := gateway.AppendZAPI(nil, e)
	return d.reject(ctx, Rejected{
		ID:         uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d %s", e.ReceivedAt, e.Seq, body)),
		ReceivedAt: e.ReceivedAt, Gateway: "zapi", Reason: "the database refuses it: " + err.Error(), Bytes: len(body), Body: body,
	})
}

func (d *Drain) reject(ctx context.Context, rejected ...Rejected) error {
	return d.within(ctx, func(ctx context.Context) error { return d.w.rejected.add(ctx, rejected) })
}

// within calls do, which writes to the database, with the timeout.
func (d *Drain) within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	d.w.unavailable.Store(false)
	d.timeout = minTimeout
	return nil
}
