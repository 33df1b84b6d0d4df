package ingest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

// ErrBusy says that the queue stayed full, ErrUnavailable that neither the database nor the spool accepted an event. The sender
// can retry later.
var (
	ErrBusy        = errors.New("too many events are waiting to be written")
	ErrUnavailable = errors.New("neither the database nor the spool accepts events at the moment")
)

const (
	maxBatchEvents = 4096
	maxBatchBytes  = 1 << 20 // of unknown fields; the rest of an event is small
	queueTimeout   = 5 * time.Second
	liveSeqs       = 1 << 14 // limit of Seqs of live events, so that events merged later can have larger ones
	retryInterval  = 50 * time.Millisecond
	lateLockWait   = 200 * time.Millisecond // other events wait behind a batch
)

// Config is what a Writer works with.
type Config struct {
	Pool    *pgxpool.Pool
	Spool   *spool.Spool                // nil: there is none
	Timeout time.Duration               // after which the database counts as unavailable or, without a spool, a batch fails
	Prepare func(context.Context) error // brings the schema up to date; nil if that is done
	Metrics *metrics.Metrics
	Log     *slog.Logger

	Rejected Rejection
	Limits   Limits
	// Durable is called after each durable batch; may be nil. It must return at once and not keep the slice.
	Durable func([]presence.Event)
	Keep    Keep // of events from the spool; nil: all
}

// Writer makes the events of concurrent requests durable, in batches. If the database does not commit in time, events go to the
// spool, and to the database when it is back.
type Writer struct {
	store       *Store
	config      Config
	contacts    *contactIDs
	newContacts *newContacts
	rejected    *rejectedStore

	events *group[presence.Event, persisted]
	seq    atomic.Uint32

	unavailable atomic.Bool // the database does not accept events
	stop        context.CancelFunc
	ended       sync.WaitGroup
}

// NewWriter starts a Writer. Close ends it.
func NewWriter(c Config) *Writer {
	ctx, stop := context.WithCancel(context.Background())
	contacts := newContactIDs(c.Pool)
	w := &Writer{
		store: newStore(c.Pool, contacts), config: c, contacts: contacts,
		events: newGroup[presence.Event, persisted](maxBatchEvents, maxBatchBytes), stop: stop,
	}
	if c.Spool != nil {
		w.store.lockWait = lateLockWait
	}
	w.newContacts = &newContacts{w: w, instances: newQuota(c.Limits.InstancesPerHour), contacts: newQuota(c.Limits.ContactsPerHour)}
	w.rejected = &rejectedStore{
		Rejection: c.Rejected, w: w, group: newGroup[Rejected, error](maxBatchRejected, maxRejectedBytes),
	}
	w.unavailable.Store(c.Prepare != nil)
	w.ended.Go(func() { w.events.run(w.persist) })
	w.ended.Go(func() { w.rejected.group.run(w.rejected.persist) })
	w.ended.Go(func() { w.warm(ctx) })
	w.ended.Go(func() { w.rejected.keepLimits(ctx) })
	d := newDrain(w)
	w.ended.Go(func() { d.run(ctx) })
	return w
}

// Write returns nil once the event is durable, and sets its Seq. After an error the event may still be stored, if the response
// to COMMIT was lost. The error is a *LimitError for new contacts over a limit.
func (w *Writer) Write(ctx context.Context, e *presence.Event) error {
	e.Seq = int16(w.seq.Add(1) % liveSeqs)
	result, err := w.events.do(ctx, *e, len(e.Extra))
	if err != nil {
		return err
	}
	if limit := result.overLimit[contact{e.InstanceID, e.Phone}]; limit != nil {
		w.config.Metrics.OverLimit.WithLabelValues(limit.What).Inc()
		return limit
	}
	return result.err
}

// Close ends the Writer after the last batch. Later calls of Write and Reject return ErrUnavailable.
func (w *Writer) Close() {
	w.events.close()
	w.rejected.group.close()
	w.stop()
	w.ended.Wait()
}

// persisted is the result of a batch.
type persisted struct {
	err       error
	overLimit map[contact]*LimitError // contacts whose events were left out
}

// persist makes a batch durable, except events of new contacts over the limits, and calls Durable.
func (w *Writer) persist(events []presence.Event) persisted {
	overLimit := w.newContacts.resolve(events)
	if len(overLimit) > 0 {
		events = slices.DeleteFunc(events, func(e presence.Event) bool { return overLimit[contact{e.InstanceID, e.Phone}] != nil })
	}
	if len(events) == 0 {
		return persisted{overLimit: overLimit}
	}
	err := w.makeDurable(events)
	if err == nil && w.config.Durable != nil {
		w.config.Durable(events)
	}
	return persisted{err, overLimit}
}

// makeDurable writes a batch to the database, or to the spool.
func (w *Writer) makeDurable(events []presence.Event) error {
	if !w.spoolOnly() {
		start := time.Now()
		err := w.try(func(ctx context.Context) error { return w.store.Write(ctx, events) })
		if err == nil {
			w.config.Metrics.BatchEvents.Observe(float64(len(events)))
			w.config.Metrics.CommitSeconds.Observe(time.Since(start).Seconds())
			w.config.Metrics.Count(events, metrics.Stored)
			return nil
		}
		w.config.Log.Warn("the database did not accept events", "events", len(events), "error", err)
		w.setUnavailable(err)
	}
	if err := w.append(events); err != nil {
		w.config.Log.Error("neither the database nor the spool accepted events", "events", len(events), "error", err)
		w.config.Metrics.Count(events, metrics.Unavailable)
		return ErrUnavailable
	}
	w.config.Metrics.Count(events, metrics.Spooled)
	return nil
}

func (w *Writer) append(events []presence.Event) error {
	if w.config.Spool == nil {
		return errors.New("there is no spool")
	}
	records, err := encodeEvents(events)
	if err != nil {
		return err
	}
	return w.config.Spool.Append(records)
}

// setUnavailable marks the database as unavailable after an error, unless the error is about these events only.
func (w *Writer) setUnavailable(err error) { w.unavailable.Store(!refusesData(err) && !locked(err)) }

// spoolOnly reports whether batches go to the spool at once. Without a spool, there is nowhere else to write.
func (w *Writer) spoolOnly() bool { return w.config.Spool != nil && w.unavailable.Load() }

// try calls do, which writes to the database, within the timeout. It retries at once, since an idle connection may be broken.
// Without a spool it retries until the timeout.
func (w *Writer) try(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.config.Timeout)
	defer cancel()
	for tries := 1; ; tries++ {
		err := do(ctx)
		if err == nil || refusesData(err) || ctx.Err() != nil || w.config.Spool != nil && (tries == 2 || locked(err)) {
			return err
		}
		if tries > 1 {
			time.Sleep(retryInterval)
		}
	}
}

// warm fills the contact id cache, in the background.
func (w *Writer) warm(ctx context.Context) {
	for {
		if !w.unavailable.Load() {
			start := time.Now()
			if err := w.contacts.warm(ctx); err == nil {
				w.config.Log.Debug("cached contact ids", "duration", time.Since(start))
				return
			}
		}
		if presence.Sleep(ctx, time.Second) != nil {
			return
		}
	}
}

// refusesData reports whether an error says that the database will never accept these data.
func refusesData(err error) bool {
	switch postgres.ErrorClass(err) {
	case "21", "22", "54": // cardinality violation, data exception, program limit exceeded
		return true
	}
	return false
}

// locked reports whether an error says that contacts with late events are locked, as during a rebuild of their intervals.
func locked(err error) bool { return postgres.ErrorCode(err) == pgerrcode.LockNotAvailable }

// Unavailable reports whether the database does not accept events.
func (w *Writer) Unavailable() bool { return w.unavailable.Load() }

// Queued returns the number of events in the next batch.
func (w *Writer) Queued() int { return w.events.queued() }
