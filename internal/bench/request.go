package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// eventsPerContact is how many bodies there are for each contact in the mean, before they come round again.
const eventsPerContact = 2

// Bodies makes up what gateways POST on a day on which so many contacts are seldom or often in the chat. The contacts
// belong to several instances and are the same ones every time.
func Bodies(contacts int) ([][]byte, error) {
	traffic := simulate.Config{Seed: 1, Contacts: contacts, Instances: simulate.InstanceIDs(1, 4)}
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	events, err := traffic.History(day, day.AddDate(0, 0, 1), contacts*eventsPerContact)
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, 0, contacts*eventsPerContact)
	for e := range events {
		bodies = append(bodies, gateway.AppendZAPI(nil, e))
	}
	return bodies, nil
}

// request is the request of one connection in the form in which it is sent. Only its end changes, so that sending costs
// next to nothing.
type request struct {
	bytes []byte
	fixed int // the length of what stays
}

// newRequest makes the request with the headers that Z-API sends.
func newRequest(target *url.URL, token string) (*request, error) {
	req, err := simulate.Request(context.Background(), target.String(), token, presence.Event{Status: presence.Available})
	if err != nil {
		return nil, err
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", target, err)
	}
	head, _, _ := bytes.Cut(wire.Bytes(), []byte("\r\n\r\n"))
	before, after, found := bytes.Cut(head, []byte("Content-Length: "))
	_, after, more := bytes.Cut(after, []byte("\r\n"))
	if !found || !more {
		return nil, errors.New("a request without Content-Length amid its headers")
	}
	b := append(append([]byte(nil), before...), after...)
	b = append(b, "\r\nContent-Length: "...)
	return &request{b, len(b)}, nil
}

// with returns the request with another body. It is good until the next call.
func (r *request) with(body []byte) []byte {
	b := strconv.AppendInt(r.bytes[:r.fixed], int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	r.bytes = append(b, body...)
	return r.bytes
}
