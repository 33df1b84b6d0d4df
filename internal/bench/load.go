// Package bench sends load to a receiver and measures the responses, for the command presencebench. Load sends to one server;
// Comparison compares the service with simple servers; Live measures the live feed; Scale measures queries as history grows.
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

	"github.com/presencelog/presencelog/internal/presence"
)

const (
	lastResponses = 30 * time.Second      // for the last responses
	redialPause   = 20 * time.Millisecond // after a connection could not be made
)

// Load is a load to send to a receiver.
type Load struct {
	URL         string
	Token       string // sent as z-api-token; "" omits it
	Connections int
	Duration    time.Duration

	// Rate is requests per second over all connections. If it is 0, every connection sends its next request after
	// the response to the last one.
	Rate float64

	// Requests limits the number of requests; 0 means no limit.
	Requests int64

	Bodies      [][]byte // sent in turn; see Bodies
	NewContacts bool     // sends each event with a new contact instead

	// Progress, if not nil, is called each minute with the number of requests that were begun.
	Progress func(requests int64)
}

// Run sends the load. It returns an error if nothing listens at the URL or ctx ended. Errors of single requests are counted.
func (l Load) Run(ctx context.Context) (Result, error) {
	target, err := url.Parse(l.URL)
	if err != nil {
		return Result{}, err
	}
	if l.Connections < 1 || l.Duration <= 0 || l.Rate < 0 || len(l.Bodies) == 0 {
		return Result{}, errors.New("a load needs at least one connection, a duration and a body, and a rate that is not negative")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline := time.Now().Add(l.Duration + lastResponses)
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
	if l.Progress != nil {
		minutes := time.Tick(time.Minute)
		go func() {
			for {
				select {
				case <-minutes:
					l.Progress(r.next.Load())
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	all.Wait()
	return r.result(workers, time.Since(r.start)), ctx.Err()
}

// once sends every body once.
func (l Load) once(ctx context.Context) (Result, error) {
	l.Connections, l.Requests, l.Duration = 64, int64(len(l.Bodies)), time.Hour
	return l.Run(ctx)
}

// run is a load while it is sent.
type run struct {
	Load
	target     *url.URL
	start, end time.Time
	deadline   time.Time // for the last response

	next    atomic.Int64 // the number of the next request
	latency latencies

	mu     sync.Mutex
	errors map[string]int64
}

// take waits until the next request is due, and returns its number and that time. With a rate, the time does not depend on
// earlier responses: if a server is slow, later requests are late, and their latency starts when they were due.
func (r *run) take(ctx context.Context) (number int64, due time.Time, ok bool) {
	number = r.next.Add(1) - 1
	if r.Requests > 0 && number >= r.Requests || ctx.Err() != nil {
		return 0, due, false
	}
	due = time.Now()
	if r.Rate > 0 {
		at := r.start.Add(time.Duration(float64(number) / r.Rate * float64(time.Second)))
		if wait := at.Sub(due); wait > 0 && at.Before(r.end) {
			if presence.Sleep(ctx, wait) != nil {
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
	conn    *conn // nil: not connected
	unhook  func() bool
	body    []byte // for NewContacts

	sent, acknowledged, unsent int64
}

func (w *worker) work(ctx context.Context) {
	for {
		number, due, ok := w.take(ctx)
		if !ok {
			return
		}
		if w.Rate > 0 && time.Now().After(w.end) {
			// It was due, but no connection was free: it has waited at least this long.
			w.unsent++
			w.latency.record(w.end.Sub(due))
			continue
		}
		body := w.Bodies[number%int64(len(w.Bodies))]
		if w.NewContacts {
			w.body = newContactBody(w.body[:0])
			body = w.body
		}
		w.send(ctx, body, due)
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
