// Package presence has the domain types: events as a gateway reports them, and the spans, visits and durations computed from
// them. It uses neither SQL nor HTTP. Spans are defined once, in SQL (migrations/).
package presence

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Status is what a contact is doing in a chat. Its numbers are those of the column events.status.
type Status int16

const (
	Available   Status = 1 + iota // entered the chat
	Unavailable                   // left the chat
	Composing                     // typing
	Paused                        // stopped typing
	Recording                     // recording audio
)

var statusNames = [...]string{
	Available: "AVAILABLE", Unavailable: "UNAVAILABLE", Composing: "COMPOSING", Paused: "PAUSED", Recording: "RECORDING",
}

// Statuses lists every status, in the order of their numbers.
func Statuses() []Status { return []Status{Available, Unavailable, Composing, Paused, Recording} }

// ParseStatus reads a status by its name, which is upper case.
func ParseStatus(name string) (Status, error) {
	if i := slices.Index(statusNames[:], name); i > 0 { // no status has the number 0
		return Status(i), nil
	}
	return 0, fmt.Errorf("unknown status %q; it must be one of AVAILABLE, UNAVAILABLE, COMPOSING, PAUSED, RECORDING", name)
}

// ParseStatuses reads a list of statuses by their names.
func ParseStatuses(names []string) ([]Status, error) {
	var list []Status
	for _, name := range names {
		s, err := ParseStatus(name)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// String returns the status' name, as gateways write it.
func (s Status) String() string {
	if s < Available || s > Recording {
		return fmt.Sprintf("Status(%d)", int16(s))
	}
	return statusNames[s]
}

// MarshalText writes the status' name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the status' name.
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatus(string(text))
	return err
}

// Event is one presence callback.
type Event struct {
	InstanceID string // the connected number at the gateway: 1 to 128 bytes of UTF-8 without NUL
	Phone      string // the contact within the instance, as sent: 1 to 128 bytes of UTF-8 without NUL
	Status     Status
	ReceivedAt time.Time // the receiver's clock: UTC, whole microseconds
	Seq        int16     // orders the contact's events with one ReceivedAt: later ones have larger Seqs
	LastSeen   *int64    // as sent, nil if null or missing; its unit depends on the gateway
	Extra      []byte    // the fields presencelog does not know: a JSON object as sent, nil if there were none
}

// Timeouts say how long a status lasts that no event renews. Each is 1 s to 24 h.
type Timeouts struct {
	Typing    time.Duration // COMPOSING, then PAUSED
	Recording time.Duration // RECORDING, then PAUSED
	Presence  time.Duration // AVAILABLE or PAUSED, then UNAVAILABLE
}

// Span is an interval of time in which one contact had one status: [Start, End).
type Span struct {
	Status           Status     `json:"status"`
	Start            time.Time  `json:"start"`
	End              *time.Time `json:"end"`              // nil if not finished
	Seconds          float64    `json:"seconds"`          // its length; up to now if not finished
	ConfirmedSeconds float64    `json:"confirmedSeconds"` // the part of Seconds that events confirm
	Events           int64      `json:"events"`           // how many events set or renewed the status within it
	EndedBy          EndedBy    `json:"endedBy"`
}

// EndedBy says why a span ended.
type EndedBy string

const (
	ByEvent   EndedBy = "event"   // another status was reported
	ByTimeout EndedBy = "timeout" // nothing renewed the status
	Open      EndedBy = "open"    // it is not finished
)

// Contact is one contact of an instance and what it does now.
type Contact struct {
	Phone        string    `json:"phone"`
	Status       Status    `json:"status"`
	Since        time.Time `json:"since"` // when the status began
	FirstEventAt time.Time `json:"firstEventAt"`
	LastEventAt  time.Time `json:"lastEventAt"`
	Now          time.Time `json:"now"` // the time at which Status is current
}

// Instance is one connected number and the time between its first and last event.
type Instance struct {
	InstanceID   string    `json:"instanceId"`
	FirstEventAt time.Time `json:"firstEventAt"`
	LastEventAt  time.Time `json:"lastEventAt"`
}

// Measure is what durations are about.
type Measure string

const (
	MeasureTyping    Measure = "typing"    // COMPOSING spans
	MeasureRecording Measure = "recording" // RECORDING spans
	MeasureInChat    Measure = "inChat"    // visits: runs of adjoining spans that are not UNAVAILABLE
)

// Heat is the activity in one hour of the week, over all weeks of a range. Seconds is the time in that hour, Count the number
// of intervals that start in it.
type Heat struct {
	Weekday          int     `json:"weekday"` // 1 Monday … 7 Sunday
	Hour             int     `json:"hour"`    // 0 … 23
	Count            int64   `json:"count"`
	Seconds          float64 `json:"seconds"`
	ConfirmedSeconds float64 `json:"confirmedSeconds"`
}

// Habit is how often a contact is in the chat in one hour of the week.
type Habit struct {
	Weekday int     `json:"weekday"` // 1 Monday … 7 Sunday
	Hour    int     `json:"hour"`    // 0 … 23
	Share   float64 `json:"share"`   // of the weeks, 0 to 1
}

// Rank is a contact of a ranking: the time of its intervals in a range, and how many start in it.
type Rank struct {
	Phone            string  `json:"phone"`
	Count            int64   `json:"count"`
	Seconds          float64 `json:"seconds"`
	ConfirmedSeconds float64 `json:"confirmedSeconds"`
}

// Durations sums up intervals of one measure in a range. Count, Mean, Median, P90 and Max describe the whole intervals that
// start in the range; Seconds and ConfirmedSeconds are the time inside the range.
type Durations struct {
	Count            int64    `json:"count"`
	Seconds          float64  `json:"seconds"`
	ConfirmedSeconds float64  `json:"confirmedSeconds"`
	MeanSeconds      *float64 `json:"meanSeconds"` // this and the next three are nil if Count is 0
	MedianSeconds    *float64 `json:"medianSeconds"`
	P90Seconds       *float64 `json:"p90Seconds"`
	MaxSeconds       *float64 `json:"maxSeconds"`
}

// Summary has the durations of all measures.
type Summary struct {
	Typing    Durations `json:"typing"`    // COMPOSING spans
	Recording Durations `json:"recording"` // RECORDING spans
	InChat    Durations `json:"inChat"`    // visits: runs of adjoining spans that are not UNAVAILABLE
}

// ContactSummary is the summary of one contact.
type ContactSummary struct {
	Phone string `json:"phone"`
	Summary
}

// Bucket is the summary of one part of a range: [Start, End).
type Bucket struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Summary
}

// Now is the clock of the service: UTC, whole microseconds, like everything that is stored.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Earlier returns the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Sleep waits for d, or until ctx ends, and then returns its error.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
