package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

// ErrBusy says that the queue stayed full, and ErrUnavailable that an event could be made durable nowhere. It may come
// again later.
var (
	ErrBusy        = errors.New("too many events are waiting to be written")
	ErrUnavailable = errors.New("neither the database nor the spool takes events at the moment")
)

const (
	maxBatchEvents = 4096
	maxBatchBytes  = 4 << 20 // of unknown fields; what else an event holds is small
	queueBound     = 5 * time.Second
	liveSeqs       = 1 << 14 // seqs of live events stay below, so that events merged later still find larger ones
	retryPause     = 50 * time.Millisecond
)

// Config is what a Writer works with.
type Config struct {
	Pool    *pgxpool.Pool
	Spool   *spool.Spool                // nil: there is none
	Bound   time.Duration               // after which the database counts as away, or without a spool a batch is given up
	Prepare func(context.Context) error // brings the schema up to date; nil if that is done
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// Writer makes events durable in groups: while one batch is being committed the next one gathers, so batches grow with
// the load and nobody waits for a timer. It holds at most two batches. When the database does not commit in time, events
// go to the spool, and from there to the database when it is back.
type Writer struct {
	pool  *pgxpool.Pool
	store *Store
	spool *spool.Spool
	bound time.Duration
	meter *metrics.Metrics
	log   *slog.Logger

	mu   sync.Mutex
	next *batch
	seq  int16

	away  atomic.Bool   // the database is known not to take events: nobody waits for it
	wake  chan struct{} // has room for the one signal that each batch gives
	stop  context.CancelFunc
	ended sync.WaitGroup

	patience time.Duration // of the drain, whose goroutine alone uses it
}

type batch struct {
	events []presence.Event
	bytes  int
	taken  chan struct{} // closed when the next batch gathers
	done   chan struct{} // closed when err is set
	err    error
}

func newBatch() *batch {
	return &batch{taken: make(chan struct{}), done: make(chan struct{})}
}

// NewWriter starts a Writer. Close ends it.
func NewWriter(c Config) *Writer {
	ctx, stop := context.WithCancel(context.Background())
	w := &Writer{
		pool: c.Pool, store: NewStore(c.Pool), spool: c.Spool, bound: c.Bound, meter: c.Metrics, log: c.Log,
		next: newBatch(), wake: make(chan struct{}, 1), stop: stop,
	}
	w.away.Store(c.Prepare != nil)
	w.ended.Add(1)
	go w.run()
	if c.Spool != nil {
		w.ended.Add(1)
		go w.drain(ctx, c.Prepare)
	}
	return w
}

// Write returns nil once the event is durable, and its Seq given. After an error the event may be stored all the same: a
// COMMIT whose answer got lost.
func (w *Writer) Write(ctx context.Context, e *presence.Event) error {
	b, err := w.join(ctx, e)
	if err != nil {
		return err
	}
	<-b.done
	return b.err
}

// join puts the event into the batch that gathers. While that one is full, it waits for the next.
func (w *Writer) join(ctx context.Context, e *presence.Event) (*batch, error) {
	var full <-chan time.Time
	for {
		w.mu.Lock()
		b := w.next
		if len(b.events) < maxBatchEvents && b.bytes < maxBatchBytes {
			w.seq = (w.seq + 1) % liveSeqs
			e.Seq = w.seq
			b.events = append(b.events, *e)
			b.bytes += len(e.Extra)
			first := len(b.events) == 1
			w.mu.Unlock()
			if first {
				w.wake <- struct{}{}
			}
			return b, nil
		}
		w.mu.Unlock()
		if full == nil {
			full = time.After(queueBound)
		}
		select {
		case <-b.taken:
		case <-full:
			return nil, ErrBusy
		case <-ctx.Done():
			return nil, ErrBusy
		}
	}
}

// Close ends the Writer after the last batch. Nobody may call Write or Quarantine any more.
func (w *Writer) Close() {
	close(w.wake)
	w.stop()
	w.ended.Wait()
}

func (w *Writer) run() {
	defer w.ended.Done()
	for range w.wake {
		w.mu.Lock()
		b := w.next
		w.next = newBatch()
		w.mu.Unlock()
		close(b.taken)
		b.err = w.keep(b.events)
		close(b.done)
	}
}

// keep makes a batch durable: in the database, or in the spool.
func (w *Writer) keep(events []presence.Event) error {
	if !w.away.Load() {
		start := time.Now()
		err := w.commit(events)
		if err == nil {
			w.meter.BatchEvents.Observe(float64(len(events)))
			w.meter.CommitSeconds.Observe(time.Since(start).Seconds())
			w.meter.Count(events, metrics.Stored)
			return nil
		}
		w.log.Warn("the database did not take events", "events", len(events), "error", err)
		w.away.Store(w.spool != nil && !refusesData(err)) // what it refuses, it is there to refuse
	}
	if err := w.append(events); err != nil {
		w.log.Error("events could be kept nowhere", "events", len(events), "error", err)
		w.meter.Count(events, metrics.Unavailable)
		return ErrUnavailable
	}
	w.meter.Count(events, metrics.Spooled)
	return nil
}

func (w *Writer) append(events []presence.Event) error {
	if w.spool == nil {
		return errors.New("there is no spool")
	}
	records, err := encodeEvents(events)
	if err != nil {
		return err
	}
	return w.spool.Append(records)
}

// commit writes a batch to the database within the bound. A connection may have broken while it lay idle, so there is a
// second try at once; without a spool to go to, there are as many as the bound allows.
func (w *Writer) commit(events []presence.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.bound)
	defer cancel()
	for tries := 1; ; tries++ {
		err := w.store.Write(ctx, events)
		if err == nil || refusesData(err) || ctx.Err() != nil || w.spool != nil && tries == 2 {
			return err
		}
		if tries > 1 {
			time.Sleep(retryPause)
		}
	}
}

// refusesData says that the database is well but will never take the events as they are.
func refusesData(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code[:2] {
	case "21", "22", "54": // cardinality, data exception, program limit exceeded
		return true
	}
	return false
}

// Away says whether the database is known not to take events.
func (w *Writer) Away() bool { return w.away.Load() }

// Queued returns how many events gather for the next batch.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.next.events)
}
