package live

import (
	"errors"
	"slices"
	"sync"

	"github.com/presencelog/presencelog/internal/presence"
)

// ErrSlow says that a client did not read its messages in time. It may resume from its last ID.
var ErrSlow = errors.New("the client does not read its messages in time")

// queueSize is the maximum number of messages that wait for a client.
const queueSize = 1024

// Filter says which changes a client gets. A nil slice means all.
type Filter struct {
	Instances []string
	Phones    []string
	Statuses  []presence.Status // what the contact does after the change
}

// Restrict limits the filter to instances; nil means all.
func (f *Filter) Restrict(instances []string) {
	switch {
	case instances == nil:
	case f.Instances == nil:
		f.Instances = instances
	default:
		f.Instances = slices.DeleteFunc(f.Instances, func(id string) bool { return !slices.Contains(instances, id) })
	}
}

func (f *Filter) match(m *Message) bool {
	return (f.Instances == nil || slices.Contains(f.Instances, m.InstanceID)) &&
		(f.Phones == nil || slices.Contains(f.Phones, m.Phone)) &&
		(f.Statuses == nil || slices.Contains(f.Statuses, m.Status))
}

// Client gets the changes that pass its filter. Close ends it.
type Client struct {
	hub    *Hub
	filter Filter

	// Resync says that the client has missed changes that are no longer kept.
	Resync bool
	// Ready is closed when the hub has all states. All later changes are in the queue.
	Ready <-chan struct{}
	// Ended is closed when the service stops.
	Ended <-chan struct{}

	mu    sync.Mutex
	queue []*Message
	slow  bool
	wake  chan struct{} // has room for one signal
}

// Wake gives a signal when Take has something to return.
func (c *Client) Wake() <-chan struct{} { return c.wake }

// Take returns the messages that have come since the last call, oldest first.
func (c *Client) Take() ([]*Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow {
		return nil, ErrSlow
	}
	queue := c.queue
	c.queue = nil
	return queue, nil
}

// ID returns the ID to resume from; "" if messages wait for the client.
func (c *Client) ID() string {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		return ""
	}
	return c.hub.journal.id()
}

// Close ends the client.
func (c *Client) Close() { c.hub.remove(c) }

// put queues a message if it passes the filter.
func (c *Client) put(m *Message) {
	if !c.filter.match(m) {
		return
	}
	c.mu.Lock()
	if len(c.queue) >= queueSize {
		c.queue, c.slow = nil, true
	}
	if !c.slow {
		c.queue = append(c.queue, m)
	}
	c.mu.Unlock()
	signal(c.wake)
}

// places returns the filter's keys in the index of clients: its phones, else its instances, else the zero name.
func (f *Filter) places() (list []name) {
	switch {
	case f.Phones != nil:
		for _, phone := range f.Phones {
			list = append(list, name{phone: phone})
		}
	case f.Instances != nil:
		for _, id := range f.Instances {
			list = append(list, name{instanceID: id})
		}
	default:
		list = []name{{}}
	}
	return list
}

// clients is an index of clients by their filters.
type clients struct {
	at    map[name]map[*Client]struct{}
	count int
}

func (s *clients) add(c *Client) {
	s.count++
	for _, place := range c.filter.places() {
		if s.at[place] == nil {
			s.at[place] = map[*Client]struct{}{}
		}
		s.at[place][c] = struct{}{}
	}
}

func (s *clients) remove(c *Client) {
	s.count--
	for _, place := range c.filter.places() {
		delete(s.at[place], c)
		if len(s.at[place]) == 0 {
			delete(s.at, place)
		}
	}
}

// put passes a message to the clients whose filters may match.
func (s *clients) put(m *Message) {
	for _, place := range [...]name{{}, {instanceID: m.InstanceID}, {phone: m.Phone}} {
		for c := range s.at[place] {
			c.put(m)
		}
	}
}
