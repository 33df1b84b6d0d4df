package simulate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// requestTimeout is the timeout of a response.
const requestTimeout = 30 * time.Second

// Result counts the responses.
type Result struct {
	Sent      int   // with a response of 2xx
	Failed    int   // the others, and requests without one
	LastError error // of those that failed
}

// Play POSTs events to url as Z-API does, each at its ReceivedAt, or at once if that has passed. It counts the responses until
// there are no more events or ctx is done. There are at most workers concurrent requests. Events of one contact are sent in
// order, one after another.
//
// If the receiver is too slow, Play sends as fast as it can until it has caught up. Events are generated when they are sent, so
// that a delay takes no memory. No event is sent twice. When ctx is done, the workers still send their events, so that every
// generated event is counted.
//
// sent is called after each response of 2xx. The only error is an invalid url.
func Play(
	ctx context.Context, client *http.Client, url, token string, events iter.Seq[presence.Event], workers int, sent func(),
) (result Result, err error) {
	if _, err := Request(ctx, url, token, presence.Event{}); err != nil {
		return Result{}, err
	}
	var mu sync.Mutex
	queues := make([]chan presence.Event, workers)
	var running sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan presence.Event, 4) // buffered, so that one slow response does not delay all others
		running.Go(func() {
			for e := range queues[i] {
				err := post(context.WithoutCancel(ctx), client, url, token, e)
				mu.Lock()
				if err == nil {
					result.Sent++
					sent()
				} else {
					result.Failed++
					result.LastError = err
				}
				mu.Unlock()
			}
		})
	}
	pace(ctx, events, queues)
	for _, q := range queues {
		close(q)
	}
	running.Wait()
	return result, nil
}

// pace queues events when they are due. All events of a contact use the same queue.
func pace(ctx context.Context, events iter.Seq[presence.Event], queues []chan presence.Event) {
	seed := maphash.MakeSeed()
	for e := range events {
		select {
		case <-time.After(time.Until(e.ReceivedAt)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case queues[maphash.String(seed, e.Phone)%uint64(len(queues))] <- e:
		case <-ctx.Done():
			return
		}
	}
}

// post sends one event. The error says why the response was not 2xx.
func post(ctx context.Context, client *http.Client, url, token string, e presence.Event) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := Request(ctx, url, token, e)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return errors.Unwrap(err) // the error of Do has the URL, which may contain a token
	}
	defer resp.Body.Close()
	// A connection is reused only if the body was read. The first bytes of an error say why.
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", resp.Status, why)
	}
	return nil
}
