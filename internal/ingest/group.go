package ingest

import (
	"context"
	"sync"
	"time"
)

// group collects items of concurrent callers in a batch while it works on the previous batch. So batches grow with the load,
// and no caller waits for a timer. It has at most two batches. T is the type of items, R the result of a batch.
type group[T, R any] struct {
	maxItems, maxBytes int

	mu     sync.Mutex
	closed bool
	next   *batch[T, R]
	wake   chan struct{} // has room for one signal: that of the batch before is received before next is replaced
}

type batch[T, R any] struct {
	items  []T
	bytes  int
	taken  chan struct{} // closed when the next batch collects items
	done   chan struct{} // closed when result is set
	result R
}

func newGroup[T, R any](maxItems, maxBytes int) *group[T, R] {
	return &group[T, R]{maxItems: maxItems, maxBytes: maxBytes, next: newBatch[T, R](), wake: make(chan struct{}, 1)}
}

func newBatch[T, R any]() *batch[T, R] {
	return &batch[T, R]{taken: make(chan struct{}), done: make(chan struct{})}
}

// do adds an item to the next batch and returns the batch's result. If that batch is full, it waits for another one. After
// queueTimeout it returns ErrBusy, and after close ErrUnavailable.
func (g *group[T, R]) do(ctx context.Context, item T, bytes int) (result R, err error) {
	var timeout <-chan time.Time
	for {
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			return result, ErrUnavailable
		}
		b := g.next
		if len(b.items) < g.maxItems && b.bytes < g.maxBytes {
			b.items = append(b.items, item)
			b.bytes += bytes
			if len(b.items) == 1 {
				g.wake <- struct{}{}
			}
			g.mu.Unlock()
			<-b.done
			return b.result, nil
		}
		g.mu.Unlock()
		if timeout == nil {
			timeout = time.After(queueTimeout)
		}
		select {
		case <-b.taken:
		case <-timeout:
			return result, ErrBusy
		case <-ctx.Done():
			return result, ErrBusy
		}
	}
}

// run works on batches until close.
func (g *group[T, R]) run(work func([]T) R) {
	for range g.wake {
		g.mu.Lock()
		b := g.next
		g.next = newBatch[T, R]()
		g.mu.Unlock()
		close(b.taken)
		b.result = work(b.items)
		close(b.done)
	}
}

// close ends run after the last batch.
func (g *group[T, R]) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	close(g.wake)
}

func (g *group[T, R]) queued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.next.items)
}
