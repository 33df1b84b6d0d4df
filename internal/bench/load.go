// Package bench offers load to a receiver and measures what becomes of it. Load sends to one server, Compare lets the
// service compete with servers that show what its figures mean.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lastAnswers = 30 * time.Second      // how long after the end answers are awaited
	redialPause = 20 * time.Millisecond // after a connection could not be made
)

// Load is what is offered to a receiver.
type Load struct {
	URL         string
	Token       string // shown as z-api-token; "" leaves it out
	Connections int
	Duration    time.Duration

	// Rate is requests per second over all connections. If it is 0, every connection sends its next request when it
	// has the answer to the last one.
	Rate float64

	// Requests bounds how many are sent; 0 does not.
	Requests int64

	Bodies [][]byte // sent in turn; see Bodies
}

// Run sends the load. The error is one that made it senseless: there is nobody at the URL, or ctx ended. What goes
// wrong with single requests is counted.
func (l Load) Run(ctx context.Context) (Result, error) {
	target, err := url.Parse(l.URL)
	if err != nil {
		return Result{}, err
	}
	if l.Connections < 1 || l.Duration <= 0 || l.Rate < 0 || len(l.Bodies) == 0 {
		return Result{}, errors.New("a load needs a connection, a duration and a body at least, and no rate below 0")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline := time.Now().Add(l.Duration + lastAnswers)
	r := &run{Load: l, target: target, deadline: deadline, errors: map[string]int64{}}
	workers := make([]*worker, l.Connections)
	defer func() {
		for _, w := range workers {
			if w != nil {
				w.hangUp()
			}
		}
	}()
	for i := range workers {
		workers[i] = &worker{run: r}
		if workers[i].request, err = newRequest(target, l.Token); err != nil {
			return Result{}, err
		}
		if err := workers[i].connect(ctx); err != nil {
			return Result{}, err
		}
	}

	var all sync.WaitGroup
	r.start = time.Now()
	r.end = r.start.Add(l.Duration)
	for _, w := range workers {
		all.Go(func() { w.work(ctx) })
	}
	all.Wait()
	return r.result(workers, time.Since(r.start)), ctx.Err()
}

// run is a load while it is sent.
type run struct {
	Load
	target     *url.URL
	start, end time.Time
	deadline   time.Time // for the last answer

	next    atomic.Int64 // the number of the next request
	latency histogram

	mu     sync.Mutex
	errors map[string]int64
}

// take returns the next request's number and the moment at which it is to be sent, for which it waits. At a rate that
// moment does not depend on when earlier ones were answered: a server that is slow for a while makes all those late that
// were due meanwhile, and their latency counts from then.
func (r *run) take(ctx context.Context) (number int64, due time.Time, ok bool) {
	number = r.next.Add(1) - 1
	if r.Requests > 0 && number >= r.Requests || ctx.Err() != nil {
		return 0, due, false
	}
	due = time.Now()
	if r.Rate > 0 {
		at := r.start.Add(time.Duration(float64(number) / r.Rate * float64(time.Second)))
		if wait := at.Sub(due); wait > 0 && at.Before(r.end) {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return 0, due, false
			}
		}
		due = at
	}
	return number, due, due.Before(r.end)
}

func (r *run) fail(why string) {
	r.mu.Lock()
	r.errors[why]++
	r.mu.Unlock()
}

// worker sends over one connection.
type worker struct {
	*run
	request *request
	conn    *conn // nil if it is to be made
	unhook  func() bool

	sent, acknowledged, unsent int64
}

func (w *worker) work(ctx context.Context) {
	for {
		number, due, ok := w.take(ctx)
		if !ok {
			return
		}
		if w.Rate > 0 && time.Now().After(w.end) {
			// It was due and there was no connection free to send it: it has waited so long at least.
			w.unsent++
			w.latency.record(w.end.Sub(due))
			continue
		}
		w.send(ctx, w.Bodies[number%int64(len(w.Bodies))], due)
	}
}

func (w *worker) send(ctx context.Context, body []byte, due time.Time) {
	w.sent++
	if w.conn == nil {
		if err := w.connect(ctx); err != nil {
			w.fail("no connection")
			time.Sleep(redialPause)
			return
		}
	}
	a, err := w.conn.exchange(w.request.with(body))
	switch {
	case err != nil:
		w.fail("broken connection")
	case a.status == 200 && a.id:
		w.acknowledged++
		w.latency.record(time.Since(due))
	case a.status == 200:
		w.fail("200 without id")
	default:
		w.fail(strconv.Itoa(a.status))
	}
	if err != nil || a.close {
		w.hangUp()
	}
}

func (w *worker) connect(ctx context.Context) error {
	c, err := dial(ctx, w.target, w.deadline)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", w.target.Host, err)
	}
	w.conn = c
	w.unhook = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	return nil
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.unhook()
		_ = w.conn.Close()
		w.conn = nil
	}
}
