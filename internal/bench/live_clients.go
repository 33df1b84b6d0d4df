package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// liveClients are the clients of a service.
type liveClients struct {
	contacts []contact
	probes   []probe

	messages, dropped atomic.Int64
}

// probe is a contact with one reader, whose changes are timed.
type probe struct {
	arrived chan time.Time // of a change
	here    bool           // whether it is in the chat
}

func probePhone(i int) string { return "probe-" + strconv.Itoa(i) }

// read follows a contact of the load and a probe until ctx is done.
func (c *liveClients) read(ctx context.Context, s *liveService, i int, opened chan<- error) {
	query := url.Values{"phone": {c.contacts[i%len(c.contacts)].phone, probePhone(i)}}
	err := s.get(ctx, i, "/v1/live?"+query.Encode(), func(body io.Reader) {
		opened <- nil
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			data, is := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if !is {
				continue
			}
			c.messages.Add(1)
			if bytes.Contains(data, []byte(`"instanceId":"`+probeInstance+`"`)) {
				select {
				case c.probes[i].arrived <- time.Now():
				default:
				}
			}
		}
		if ctx.Err() == nil {
			c.dropped.Add(1)
		}
	})
	if err != nil {
		opened <- err
	}
}

// wait repeats what a bot does before it replies, until ctx is done. Each time, the contact types for some seconds.
func (c *liveClients) wait(ctx context.Context, s *liveService, i int) error {
	phone := "wait-" + strconv.Itoa(i)
	path := "/v1/instances/" + probeInstance + "/contacts/" + phone + "/wait?until=idle&settle=1500ms&timeout=30s"
	for ctx.Err() == nil {
		err := s.post(ctx, phone, presence.Composing)
		if ctx.Err() != nil {
			return nil // and the error is the end
		} else if err != nil {
			return err
		}
		paused := make(chan error, 1)
		typing := time.AfterFunc(minTyping+rand.N(maxTyping-minTyping), func() { paused <- s.post(ctx, phone, presence.Paused) })
		err = s.get(ctx, i, path, func(io.Reader) {})
		if typing.Stop() {
			paused <- nil
		}
		if err = cmp.Or(err, <-paused); ctx.Err() != nil {
			return nil // and the error is the end
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// probe changes the status of every step-th probe, one after another.
func (c *liveClients) probe(ctx context.Context, s *liveService, r *liveRun, first, step int) error {
	tick := time.Tick(probeInterval * time.Duration(step))
	for i := first; ; i += step {
		if i >= len(s.probes) {
			i = first
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		p := &s.probes[i]
		p.here = !p.here
		status := presence.Unavailable
		if p.here {
			status = presence.Available
		}
		select {
		case <-p.arrived: // of the last time, too late
		default:
		}
		began := time.Now()
		if err := s.post(ctx, probePhone(i), status); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		times := &r.same
		if i%len(s.addresses) > 0 {
			times = &r.other
		}
		select {
		case at := <-p.arrived:
			times.record(at.Sub(began))
		case <-time.After(probeTimeout):
			times.record(probeTimeout)
			c.dropped.Add(1)
		}
	}
}

// post sends an event to the first process.
func (s *liveService) post(ctx context.Context, phone string, status presence.Status) error {
	req, err := simulate.Request(ctx, s.load.URL, token, presence.Event{InstanceID: probeInstance, Phone: phone, Status: status})
	if err != nil {
		return err
	}
	return s.exchange(req, func(io.Reader) {})
}

// get reads a response of the API of one of the processes.
func (s *liveService) get(ctx context.Context, process int, path string, read func(io.Reader)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addresses[process%len(s.addresses)]+path, nil)
	if err != nil {
		return err
	}
	return s.exchange(req, read)
}

func (s *liveService) exchange(req *http.Request, read func(io.Reader)) error {
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, res.Status)
	}
	read(res.Body)
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
	return nil
}
