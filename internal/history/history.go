// Package history answers what can be asked of the past: timelines, durations, events, contacts. It turns questions into
// the queries of db and rows into the words of presence; it neither stores nor serves.
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
	"github.com/presencelog/presencelog/internal/presence"
)

// NotFoundError says that there is no such instance, or no such contact in it.
type NotFoundError struct{ InstanceID, Phone string }

func (e *NotFoundError) Error() string {
	if e.Phone == "" {
		return "nothing was ever received from this instance"
	}
	return fmt.Sprintf("nothing was ever received of %q in this instance", e.Phone)
}

// Reader answers questions. It may be used by many goroutines.
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

// NewReader returns a Reader on a connection or pool; now is the clock that running spans are counted up to.
func NewReader(conn Conn, now func() time.Time) *Reader {
	return &Reader{conn: conn, q: db.New(conn), now: now}
}

// At returns a Reader whose clock stands still, for answers that speak of now more than once.
func (r *Reader) At(now time.Time) *Reader {
	return &Reader{conn: r.conn, q: r.q, now: func() time.Time { return now }}
}

// on returns a Reader that reads within a transaction.
func (r *Reader) on(tx pgx.Tx) *Reader { return &Reader{conn: r.conn, q: db.New(tx), now: r.now} }

// Range is a half-open range of time: [From, To).
type Range struct{ From, To time.Time }

// IsText says whether the database can hold a string: it is UTF-8 without NUL. Nothing else was ever received.
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
	id, err := r.q.FindContact(ctx, instanceID, phone)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, &NotFoundError{InstanceID: instanceID, Phone: phone}
	}
	return id, err
}

// Timeline returns a contact's spans that overlap the range, whole, oldest first, at most limit. Spans that start before
// startsFrom are left out: to go on after a page, give the end of its last span as startsFrom and as From.
func (r *Reader) Timeline(
	ctx context.Context, instanceID, phone string, in Range, startsFrom time.Time, limit int,
) ([]presence.Span, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, err
	}
	// A query reads all events of its range, however few spans it is to give. So the range is cut where there are events
	// enough for the spans wanted; if they renewed rather than changed, it goes on with twice as many.
	spans := []presence.Span{}
	now := db.Time(r.now())
	for events := limit; ; events *= 2 {
		until := in.To
		switch at, err := r.q.TimeOfEvent(ctx, id, db.Time(in.From), db.Time(in.To), int32(events)); {
		case err == nil:
			until = at.Time
		case !errors.Is(err, pgx.ErrNoRows):
			return nil, err
		}
		rows, err := r.q.Timeline(ctx, db.TimelineParams{
			ContactID: id, RangeStart: db.Time(in.From), RangeEnd: db.Time(until), Now: now,
			StartsFrom: db.Time(startsFrom), MaxRows: int32(limit - len(spans)),
		})
		if err != nil {
			return nil, err
		}
		for _, s := range rows {
			spans = append(spans, presence.Span{
				Status: presence.Status(s.Status), Start: s.StartedAt.Time.UTC(), End: db.TimeOrNil(s.EndedAt),
				Seconds: s.Seconds, ConfirmedSeconds: s.ConfirmedSeconds, Events: s.Events,
				EndedBy: presence.EndedBy(s.EndedBy),
			})
		}
		if len(spans) == limit || !until.Before(in.To) {
			return spans, nil
		}
		// Spans that began before were given already. The caller's startsFrom may lie later still.
		in.From = until
		if startsFrom.Before(until) {
			startsFrom = until
		}
	}
}

// EventKey is an event's place in its contact's history.
type EventKey struct {
	ReceivedAt time.Time
	Seq        int16
}

// Events returns a contact's events in the range in their order of arrival, at most limit, those after the given key.
func (r *Reader) Events(
	ctx context.Context, instanceID, phone string, in Range, after *EventKey, limit int,
) ([]presence.Event, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, err
	}
	return r.eventsOf(ctx, contactRef{id, instanceID, phone}, in, after, limit)
}

type contactRef struct {
	id                int32
	instanceID, phone string
}

func (r *Reader) eventsOf(ctx context.Context, c contactRef, in Range, after *EventKey, limit int) ([]presence.Event, error) {
	if after == nil {
		after = &EventKey{in.From, -1}
	}
	rows, err := r.q.EventsAscending(ctx, db.EventsAscendingParams{
		ContactID: c.id, RangeStart: db.Time(in.From), RangeEnd: db.Time(in.To),
		AfterReceivedAt: db.Time(after.ReceivedAt), AfterSeq: after.Seq, MaxRows: int32(limit),
	})
	if err != nil {
		return nil, err
	}
	events := make([]presence.Event, len(rows))
	for i, e := range rows {
		events[i] = c.event(e)
	}
	return events, nil
}

// EventsBackwards is Events from the last to the first, those before the given key.
func (r *Reader) EventsBackwards(
	ctx context.Context, instanceID, phone string, in Range, before *EventKey, limit int,
) ([]presence.Event, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, err
	}
	if before == nil {
		before = &EventKey{in.To, -1}
	}
	rows, err := r.q.EventsDescending(ctx, db.EventsDescendingParams{
		ContactID: id, RangeStart: db.Time(in.From), RangeEnd: db.Time(in.To),
		BeforeReceivedAt: db.Time(before.ReceivedAt), BeforeSeq: before.Seq, MaxRows: int32(limit),
	})
	if err != nil {
		return nil, err
	}
	events := make([]presence.Event, len(rows))
	for i, e := range rows {
		events[i] = contactRef{id, instanceID, phone}.event(db.EventsAscendingRow(e))
	}
	return events, nil
}

const pageRows = 10_000

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
			contacts, err := r.q.AllContacts(ctx, instanceID, last.instanceID, last.phone, pageRows)
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

func (r *Reader) yieldEvents(ctx context.Context, c contactRef, in Range, yield func(presence.Event, error) bool) bool {
	var after *EventKey
	for {
		page, err := r.eventsOf(ctx, c, in, after, pageRows)
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
		if len(page) < pageRows {
			return true
		}
	}
}

func (c contactRef) event(e db.EventsAscendingRow) presence.Event {
	return presence.Event{
		InstanceID: c.instanceID, Phone: c.phone, Status: presence.Status(e.Status),
		ReceivedAt: e.ReceivedAt.Time.UTC(), Seq: e.Seq, LastSeen: e.LastSeen, Extra: e.Extra,
	}
}
