// Package history reads timelines, durations, events and contacts. It runs the queries of package db and returns the types of
// package presence.
package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// NotFoundError says that there is no such instance, or no such contact in it.
type NotFoundError struct{ InstanceID, Phone string }

func (e *NotFoundError) Error() string {
	if e.Phone == "" {
		return "there is no such instance"
	}
	return fmt.Sprintf("there is no contact %q in this instance", e.Phone)
}

// Reader runs queries. It may be used by many goroutines.
type Reader struct {
	conn Conn
	q    *db.Queries
	now  func() time.Time
}

// Conn is a connection or a pool of them.
type Conn interface {
	db.DBTX
	BeginTx(context.Context, pgx.TxOptions) (pgx.Tx, error)
}

// NewReader returns a Reader on a connection or pool; now is the clock: unfinished spans last until then.
func NewReader(conn Conn, now func() time.Time) *Reader {
	return &Reader{conn: conn, q: db.New(conn), now: now}
}

// At returns a Reader whose clock stands still, for responses that refer to now more than once.
func (r *Reader) At(now time.Time) *Reader {
	return &Reader{conn: r.conn, q: r.q, now: func() time.Time { return now }}
}

// Range is a half-open range of time: [From, To).
type Range struct{ From, To time.Time }

// IsText reports whether the database can store a string: UTF-8 without NUL. No id of an instance or contact is anything else.
func IsText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

func (r *Reader) instance(ctx context.Context, instanceID string) (int32, error) {
	if !IsText(instanceID) {
		return 0, &NotFoundError{InstanceID: instanceID}
	}
	id, err := r.q.FindInstance(ctx, instanceID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, &NotFoundError{InstanceID: instanceID}
	}
	return id, err
}

func (r *Reader) contact(ctx context.Context, instanceID, phone string) (int32, error) {
	if !IsText(instanceID) || !IsText(phone) {
		return 0, &NotFoundError{InstanceID: instanceID, Phone: phone}
	}
	id, err := r.q.FindContact(ctx, db.FindContactParams{Instance: instanceID, Phone: phone})
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err := r.instance(ctx, instanceID); err != nil {
			return 0, err
		}
		return 0, &NotFoundError{InstanceID: instanceID, Phone: phone}
	}
	return id, err
}

// Timeline returns a contact's spans that overlap the range, whole, oldest first, at most limit. Spans that start before
// startsFrom are left out: for the next page, set startsFrom and From to the end of the last span.
func (r *Reader) Timeline(
	ctx context.Context, instanceID, phone string, in Range, startsFrom time.Time, limit int,
) ([]presence.Span, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, err
	}
	// A query reads all events of its range, even if it returns few spans. So the range ends where it has enough events for the
	// page; if too few of these change the status, the next query reads twice as many.
	spans := []presence.Span{}
	now := postgres.Time(r.now())
	for events := limit; ; events *= 2 {
		until := in.To
		switch at, err := r.q.TimeOfEvent(ctx, db.TimeOfEventParams{
			ContactID: id, RangeStart: postgres.Time(in.From), RangeEnd: postgres.Time(in.To), N: int32(events),
		}); {
		case err == nil:
			until = at.Time
		case !errors.Is(err, pgx.ErrNoRows):
			return nil, err
		}
		rows, err := r.q.Timeline(ctx, db.TimelineParams{
			ContactID: id, RangeStart: postgres.Time(in.From), RangeEnd: postgres.Time(until), Now: now,
			StartsFrom: postgres.Time(startsFrom), MaxRows: int32(limit - len(spans)),
		})
		if err != nil {
			return nil, err
		}
		for _, s := range rows {
			spans = append(spans, presence.Span{
				Status: presence.Status(s.Status), Start: s.StartedAt.Time.UTC(), End: postgres.TimeOrNil(s.EndedAt),
				Seconds: s.Seconds, ConfirmedSeconds: s.ConfirmedSeconds, Events: s.Events,
				EndedBy: presence.EndedBy(s.EndedBy),
			})
		}
		if len(spans) == limit || !until.Before(in.To) {
			return spans, nil
		}
		// Spans that began before were given already. The caller's startsFrom may lie later still.
		in.From = until
		startsFrom = presence.Later(startsFrom, until)
	}
}

// EventKey is an event's place in its contact's history.
type EventKey struct {
	ReceivedAt time.Time
	Seq        int16
}

// Events returns a contact's events in the range in their order of arrival, those after the given key, or backwards those before
// it: at most limit, and fewer if their unknown fields are large. more says that there are others after them.
func (r *Reader) Events(
	ctx context.Context, instanceID, phone string, in Range, key *EventKey, backwards bool, limit int,
) (events []presence.Event, more bool, err error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, false, err
	}
	return r.page(ctx, contactRef{id, instanceID, phone}, in, key, backwards, limit)
}

type contactRef struct {
	id                int32
	instanceID, phone string
}

// page reads the events after a key, or before it, that fit into a page. Without a key it is the first page.
func (r *Reader) page(
	ctx context.Context, c contactRef, in Range, key *EventKey, backwards bool, limit int,
) (events []presence.Event, more bool, err error) {
	if key == nil {
		key = &EventKey{in.From, -1}
		if backwards {
			key.ReceivedAt = in.To
		}
	}
	rows, err := r.q.EventPage(ctx, db.EventPageParams{
		ContactID: c.id, RangeStart: postgres.Time(in.From), RangeEnd: postgres.Time(in.To), Descending: backwards, MaxBytes: pageBytes,
		KeyReceivedAt: postgres.Time(key.ReceivedAt), KeySeq: key.Seq, MaxRows: int32(limit + 1),
	})
	if err != nil {
		return nil, false, err
	}
	events = make([]presence.Event, 0, min(len(rows), limit))
	for _, e := range rows {
		if len(events) == limit || !e.Fits {
			return events, true, nil
		}
		events = append(events, presence.Event{
			InstanceID: c.instanceID, Phone: c.phone, Status: presence.Status(e.Status),
			ReceivedAt: e.ReceivedAt.Time.UTC(), Seq: e.Seq, LastSeen: e.LastSeen, Extra: e.Extra,
		})
	}
	return events, false, nil
}

const (
	pageRows  = 10_000
	pageBytes = 1 << 20 // of unknown fields, after which a page ends
)

// AllEvents returns the events in the range of all contacts of an instance, or of all instances for "", contact after
// contact, each one's in their order of arrival. Memory does not grow with their number.
func (r *Reader) AllEvents(ctx context.Context, instanceID string, in Range) iter.Seq2[presence.Event, error] {
	return func(yield func(presence.Event, error) bool) {
		if instanceID != "" {
			if _, err := r.instance(ctx, instanceID); err != nil {
				yield(presence.Event{}, err)
				return
			}
		}
		var last contactRef
		for more := true; more; {
			contacts, err := r.q.AllContacts(ctx, db.AllContactsParams{
				Instance: instanceID, AfterInstance: last.instanceID, AfterPhone: last.phone, MaxRows: pageRows,
			})
			if err != nil {
				yield(presence.Event{}, err)
				return
			}
			more = len(contacts) == pageRows
			for _, c := range contacts {
				last = contactRef{c.ID, c.Instance, c.Phone}
				if !r.yieldEvents(ctx, last, in, yield) {
					return
				}
			}
		}
	}
}

// ContactEvents returns a contact's events in the range, in their order of arrival. Memory does not grow with their number.
func (r *Reader) ContactEvents(ctx context.Context, instanceID, phone string, in Range) iter.Seq2[presence.Event, error] {
	return func(yield func(presence.Event, error) bool) {
		id, err := r.contact(ctx, instanceID, phone)
		if err != nil {
			yield(presence.Event{}, err)
			return
		}
		r.yieldEvents(ctx, contactRef{id, instanceID, phone}, in, yield)
	}
}

func (r *Reader) yieldEvents(ctx context.Context, c contactRef, in Range, yield func(presence.Event, error) bool) bool {
	var after *EventKey
	for {
		page, more, err := r.page(ctx, c, in, after, false, pageRows)
		if err != nil {
			yield(presence.Event{}, err)
			return false
		}
		for _, e := range page {
			if !yield(e, nil) {
				return false
			}
			after = &EventKey{e.ReceivedAt, e.Seq}
		}
		if !more {
			return true
		}
	}
}
