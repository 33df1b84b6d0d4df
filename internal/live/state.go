package live

import (
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// The rules that compute a contact's status from its last event are those of status_before, pauses_at and leaves_at in
// migrations/00002_spans.sql; a test compares the two.

type event struct {
	status presence.Status
	at     time.Time
	seq    int16
}

// after reports whether e is later than o, an event of the same contact.
func (e event) after(o event) bool { return e.at.After(o.at) || e.at.Equal(o.at) && e.seq > o.seq }

// timeouts returns when the status that e set becomes PAUSED and when UNAVAILABLE, if no event renews it. Zero: never.
func (e event) timeouts(t presence.Timeouts) (pauses, leaves time.Time) {
	switch e.status {
	case presence.Composing:
		pauses = e.at.Add(t.Typing)
		return pauses, pauses.Add(t.Presence)
	case presence.Recording:
		pauses = e.at.Add(t.Recording)
		return pauses, pauses.Add(t.Presence)
	case presence.Available, presence.Paused:
		return pauses, e.at.Add(t.Presence)
	}
	return pauses, leaves
}

// contact has the last events and the last announced state of a contact.
type contact struct {
	name

	last     event
	since    time.Time // when last.status began, as of last.at; zero: unknown
	previous event     // the one before, if known

	announced State
	message   *Message  // the latest one about the contact, nil if there is none
	next      time.Time // when the status changes by a timeout; zero: never
	index     int       // in the hub's heap of timeouts, -1: not in it
}

// status returns the contact's status at a time not before its last event, when it began, and when a timeout changes it. The
// time of a timeout belongs to the next status.
func (c *contact) status(at time.Time, t presence.Timeouts) (status presence.Status, since, next time.Time) {
	pauses, leaves := c.last.timeouts(t)
	switch {
	case !leaves.IsZero() && !leaves.After(at):
		return presence.Unavailable, leaves, time.Time{}
	case !pauses.IsZero() && !pauses.After(at):
		return presence.Paused, pauses, leaves
	case !pauses.IsZero():
		return c.last.status, c.since, pauses
	}
	return c.last.status, c.since, leaves
}

// add makes e the contact's last event. It must be later than the current one.
func (c *contact) add(e event, t presence.Timeouts) {
	since := e.at
	if !c.last.at.IsZero() {
		if e.at.Equal(c.last.at) { // e replaces the other one, and what was before that is unknown
			c.last, c.since = e, time.Time{}
			return
		}
		// An event at the moment of a timeout wins.
		if status, began, _ := c.status(e.at.Add(-time.Microsecond), t); status == e.status {
			since = began
		}
	}
	c.previous, c.last, c.since = c.last, e, since
}
