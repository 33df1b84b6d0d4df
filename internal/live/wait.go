package live

import (
	"context"
	"errors"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

const readyTimeout = 10 * time.Second

// ErrNotReady says that the states are not loaded, for example while the database is away, or that the service stops.
var ErrNotReady = errors.New("the live states are not loaded")

// AwaitReady returns once the client gets all changes.
func (c *Client) AwaitReady(ctx context.Context) error {
	select {
	case <-c.Ready:
		return nil
	case <-c.Ended:
		return ErrNotReady
	case <-time.After(readyTimeout):
		return ErrNotReady
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until is what to wait for.
type Until string

// UntilIdle waits until the contact has neither typed nor recorded for a while, the others for a status.
const (
	UntilIdle        Until = "idle"
	UntilTyping      Until = "typing"
	UntilRecording   Until = "recording"
	UntilAvailable   Until = "available"
	UntilUnavailable Until = "unavailable"
)

// WaitQuery says what to wait for.
type WaitQuery struct {
	InstanceID, Phone string
	Until             Until
	Settle            time.Duration // with UntilIdle: for how long
	Timeout           time.Duration
	// Since is the earliest start of Settle with UntilIdle. With a status, it is enough if the contact has had the status since
	// then. Zero: not set.
	Since time.Time
}

// Waited is the state of a contact after a wait.
type Waited struct {
	presence.Contact
	TimedOut bool `json:"timedOut" doc:"The timeout ended the wait"`
}

// Wait waits for a contact, or until the timeout. reader must have a running clock.
func (h *Hub) Wait(ctx context.Context, reader *history.Reader, query WaitQuery) (out Waited, err error) {
	timedOut := time.After(query.Timeout)
	client := h.Subscribe(Filter{Instances: []string{query.InstanceID}, Phones: []string{query.Phone}}, "")
	defer client.Close()
	if err := client.AwaitReady(ctx); err != nil {
		return out, err
	}
	now := h.now()
	w := waiter{until: query.Until, quietFrom: now.Add(-query.Settle)}
	from := now
	if !query.Since.IsZero() {
		from = presence.Earlier(query.Since, now)
		w.quietFrom = from
	}
	if query.Until == UntilIdle { // what was before has settled, however long ago Since is
		from = presence.Later(now.Add(-query.Settle), w.quietFrom)
	}
	// What the contact has done recently.
	spans, err := reader.At(now).Timeline(ctx, query.InstanceID, query.Phone, history.Range{From: from, To: now.Add(time.Microsecond)}, time.Time{}, 10_000)
	if err != nil {
		return out, err
	}
	for _, span := range spans {
		w.see(span.Status, span.Start)
	}
	for !w.met {
		var settled <-chan time.Time
		if w.until == UntilIdle && !w.busy {
			left := w.quietFrom.Add(query.Settle).Sub(h.now())
			if left <= 0 {
				break // also if the timeout is over
			}
			settled = time.After(left)
		}
		select {
		case <-settled:
			w.met = true
		case <-client.Wake():
			messages, err := client.Take()
			if err != nil {
				return out, err
			}
			for _, m := range messages {
				w.see(m.Status, m.Since)
			}
		case <-timedOut:
			out.TimedOut, w.met = true, true
		case <-client.Ended:
			return out, ErrNotReady
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	out.Contact, err = reader.Contact(ctx, query.InstanceID, query.Phone)
	return out, err
}

// waiter decides whether a wait is over.
type waiter struct {
	until     Until
	met       bool      // the contact has had the status
	busy      bool      // the contact types or records
	quietFrom time.Time // when it stopped, unless busy
}

// see adds a status of the contact, and when it began.
func (w *waiter) see(status presence.Status, since time.Time) {
	if w.until != UntilIdle {
		w.met = w.met || status == awaited[w.until]
		return
	}
	busy := status == presence.Composing || status == presence.Recording
	if w.busy && !busy {
		w.quietFrom = presence.Later(w.quietFrom, since)
	}
	w.busy = busy
}

var awaited = map[Until]presence.Status{
	UntilTyping: presence.Composing, UntilRecording: presence.Recording,
	UntilAvailable: presence.Available, UntilUnavailable: presence.Unavailable,
}
