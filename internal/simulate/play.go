package simulate

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// requestTimeout is how long a receiver may take to answer.
const requestTimeout = 30 * time.Second

// reportEvery is how often Play reports.
const reportEvery = 500 * time.Millisecond

// Tally counts the answers to what was POSTed.
type Tally struct {
	Sent      int         // answered with 2xx
	Failed    map[int]int // the others by status code; 0 is no answer at all
	LastError string      // the last failure in words, "" if there was none
}

// Failures is the sum of Failed.
func (t Tally) Failures() int {
	sum := 0
	for _, n := range t.Failed {
		sum += n
	}
	return sum
}

// Play POSTs events to url, as Z-API does, until there are no more or ctx is done, and returns what came of them. With a
// rate they go out evenly, that many per second; with rate 0 each goes out at its ReceivedAt, those of the past at once.
// At most workers requests are under way. The events of one contact are sent one after another, in their order.
//
// Play never sends faster than told, but slower when the receiver does not keep up: then events wait to be made, not in
// memory, and go out late, without a pause between them until the delay is made up. No event is tried twice. When ctx is
// done, what is already with the workers is still sent, so that every event handed out is counted.
//
// report, if not nil, is called about twice a second while Play runs, from one goroutine, and once at the end.
// The only error is a url that cannot be requested.
func Play(ctx context.Context, client *http.Client, url, token string, events iter.Seq[presence.Event], rate float64,
	workers int, report func(Tally)) (Tally, error) {
	if _, err := Request(ctx, url, token, presence.Event{}); err != nil {
		return Tally{}, err
	}
	p := player{client: client, url: url, token: token, tally: Tally{Failed: make(map[int]int)}}
	if report == nil {
		report = func(Tally) {}
	}

	queues := make([]chan presence.Event, max(1, workers))
	var running sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan presence.Event, 4) // a little, so that one slow answer does not hold up everybody at once
		running.Go(func() {
			for e := range queues[i] {
				p.send(context.WithoutCancel(ctx), e)
			}
		})
	}
	finished := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				report(p.snapshot())
			case <-finished:
				return
			}
		}
	})

	pace(ctx, events, rate, queues)
	for _, q := range queues {
		close(q)
	}
	running.Wait()
	close(finished)
	reporting.Wait()
	report(p.snapshot())
	return p.snapshot(), nil
}

// pace hands out the events when they are due, each contact's to the same queue.
func pace(ctx context.Context, events iter.Seq[presence.Event], rate float64, queues []chan presence.Event) {
	seed := maphash.MakeSeed()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	n := 0
	for e := range events {
		due := e.ReceivedAt
		if rate > 0 {
			due = start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		}
		n++
		if ctx.Err() != nil {
			return
		}
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		queue := queues[maphash.String(seed, e.Phone)%uint64(len(queues))]
		select {
		case queue <- e:
		case <-ctx.Done():
			return
		}
	}
}

// player is what the workers share.
type player struct {
	client     *http.Client
	url, token string

	mu    sync.Mutex
	tally Tally
}

func (p *player) send(ctx context.Context, e presence.Event) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	code, problem := p.post(ctx, e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if problem == "" {
		p.tally.Sent++
		return
	}
	p.tally.Failed[code]++
	p.tally.LastError = problem
}

// post sends one event; problem is empty if the answer was 2xx.
func (p *player) post(ctx context.Context, e presence.Event) (code int, problem string) {
	req, err := Request(ctx, p.url, p.token, e)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, errors.Unwrap(err).Error() // Do's own words name the URL, which may hold a token
	}
	defer resp.Body.Close()
	// Read to its end the connection can be used again. The first bytes of a refusal say why.
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 == 2 {
		return resp.StatusCode, ""
	}
	return resp.StatusCode, resp.Status + ": " + string(why)
}

func (p *player) snapshot() Tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tally
	t.Failed = maps.Clone(t.Failed)
	return t
}
