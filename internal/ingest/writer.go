package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// ErrBusy says that the queue stayed full, and ErrUnavailable that the events could not be made durable in time. The
// event may come again later.
var (
	ErrBusy        = errors.New("too many events are waiting to be written")
	ErrUnavailable = errors.New("the database does not take events at the moment")
)

const (
	maxBatchEvents = 4096
	maxBatchBytes  = 4 << 20 // of unknown fields; what else an event holds is small
	liveSeqs       = 1 << 14 // seqs of live events stay below, so that events merged later still find larger ones
	retryPause     = 50 * time.Millisecond
)

// Writer writes events in groups: while one batch is being committed the next one gathers, so batches grow with the load
// and nobody waits for a timer. It holds at most two batches.
type Writer struct {
	store *Store
	bound time.Duration
	log   *slog.Logger

	mu   sync.Mutex
	next *batch
	seq  int16

	wake chan struct{} // has room for the one signal that each batch gives
	idle chan struct{} // closed when the writing goroutine has ended
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

// NewWriter starts a Writer that gives up on a batch after bound. Close ends it.
func NewWriter(store *Store, bound time.Duration, log *slog.Logger) *Writer {
	w := &Writer{
		store: store, bound: bound, log: log,
		next: newBatch(), wake: make(chan struct{}, 1), idle: make(chan struct{}),
	}
	go w.run()
	return w
}

// Write returns nil once the event is durable, and its Seq given. ctx bounds the wait for a place in the queue. After an
// error the event may be stored all the same: a COMMIT whose answer got lost.
func (w *Writer) Write(ctx context.Context, e *presence.Event) error {
	b, err := w.join(ctx, e)
	if err != nil {
		return err
	}
	<-b.done
	return b.err
}

func (w *Writer) join(ctx context.Context, e *presence.Event) (*batch, error) {
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
		select {
		case <-b.taken:
		case <-ctx.Done():
			return nil, ErrBusy
		}
	}
}

// Close ends the Writer after the last batch. Nobody may call Write any more.
func (w *Writer) Close() {
	close(w.wake)
	<-w.idle
}

func (w *Writer) run() {
	defer close(w.idle)
	for range w.wake {
		w.mu.Lock()
		b := w.next
		w.next = newBatch()
		w.mu.Unlock()
		close(b.taken)
		b.err = w.commit(b.events)
		close(b.done)
	}
}

func (w *Writer) commit(events []presence.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.bound)
	defer cancel()
	for {
		err := w.store.Write(ctx, events)
		if err == nil {
			return nil
		}
		w.log.Warn("writing events", "events", len(events), "error", err)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return ErrUnavailable
		}
	}
}
