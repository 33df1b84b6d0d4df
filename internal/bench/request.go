package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// eventsPerContact is the mean number of bodies of a contact, before they repeat.
const eventsPerContact = 2

// Bodies generates the bodies of a day of events of this many contacts, some of them more active than others. The contacts
// belong to several instances and are always the same.
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

var newContacts atomic.Int64

// newContactBody appends the body of an event of a new contact.
func newContactBody(b []byte) []byte {
	return gateway.AppendZAPI(b, presence.Event{
		InstanceID: "new", Phone: strconv.FormatInt(5_500_000_000_000+newContacts.Add(1), 10), Status: presence.Composing,
	})
}

// request is the request of one connection as bytes. Only its end changes, so that sending needs little CPU.
type request struct {
	bytes []byte
	fixed int // length of the part that does not change
}

// newRequest returns the request with the headers that Z-API sends.
func newRequest(target *url.URL, token string) (*request, error) {
	req, err := simulate.Request(context.Background(), target.String(), token, presence.Event{Status: presence.Available})
	if err != nil {
		return nil, err
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, fmt.Errorf("create a request to %s: %w", target, err)
	}
	head, _, _ := bytes.Cut(wire.Bytes(), []byte("\r\n\r\n"))
	before, after, found := bytes.Cut(head, []byte("Content-Length: "))
	_, after, more := bytes.Cut(after, []byte("\r\n"))
	if !found || !more {
		return nil, errors.New("the request has no Content-Length")
	}
	b := append(append([]byte(nil), before...), after...)
	b = append(b, "\r\nContent-Length: "...)
	return &request{b, len(b)}, nil
}

// with returns the request with another body. It is valid until the next call.
func (r *request) with(body []byte) []byte {
	b := strconv.AppendInt(r.bytes[:r.fixed], int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	r.bytes = append(b, body...)
	return r.bytes
}
