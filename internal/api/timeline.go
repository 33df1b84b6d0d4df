package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type timelineBody struct {
	Spans      []presence.Span `json:"spans" doc:"Whole spans, oldest first, not clipped to the range"`
	NextCursor *string         `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b timelineBody) rows() ([]presence.Span, *string) { return b.Spans, b.NextCursor }

type timelineInput struct {
	ContactPath
	RangeQuery
	FormatQuery
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" doc:"Maximum number to return; default: 1000 as JSON, all as CSV and NDJSON"`
	Cursor string `query:"cursor" doc:"nextCursor of the previous page"`
}

func (in timelineInput) page() (asked page, most int) { return page{in.Cursor, in.Limit}, 10_000 }

func (s *server) timeline(ctx context.Context, in *timelineInput, at page) (out timelineBody, err error) {
	list := []string{"timeline", in.InstanceID, in.Phone}
	whole, after, err := s.readRange(ctx, in.InstanceID, in.RangeQuery, at.cursor, list...)
	if err != nil {
		return out, err
	}
	rest := whole
	if at.cursor != "" {
		rest.From = after.At
	}
	spans, err := s.History.Timeline(ctx, in.InstanceID, in.Phone, rest, after.At, at.limit+1)
	if err != nil {
		return out, err
	}
	if len(spans) > at.limit {
		out.NextCursor = cursor{List: list, Range: whole, At: spans[at.limit].Start}.encode()
		spans = spans[:at.limit]
	}
	out.Spans = spans
	return out, nil
}

// Event is an event in lists.
type Event struct {
	ID         string          `json:"id" doc:"The id of the event, unique within its contact"`
	ReceivedAt time.Time       `json:"receivedAt"`
	Status     presence.Status `json:"status"`
	LastSeen   *int64          `json:"lastSeen" doc:"As the gateway sent it; its unit depends on the gateway"`
	Extra      object          `json:"extra" doc:"The fields that presencelog does not know, as sent; null if there were none"`
}

// EventOf converts an event for lists.
func EventOf(e presence.Event) Event {
	return Event{presence.EventID(e.ReceivedAt, e.Seq), e.ReceivedAt, e.Status, e.LastSeen, e.Extra}
}

// object is a JSON object that is not decoded; null if empty.
type object []byte

// MarshalJSON writes the object.
func (o object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("null"), nil
	}
	return json.RawMessage(o), nil
}

// Schema describes the object.
func (o object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

type eventsBody struct {
	Events     []Event `json:"events"`
	NextCursor *string `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b eventsBody) rows() ([]Event, *string) { return b.Events, b.NextCursor }

type eventsInput struct {
	ContactPath
	RangeQuery
	PageQuery
	Order string `query:"order" enum:"asc,desc" default:"asc" doc:"Oldest or newest first"`
}

func (s *server) events(ctx context.Context, in *eventsInput, at page) (out eventsBody, err error) {
	list := []string{"events", in.InstanceID, in.Phone, in.Order}
	whole, after, err := s.readRange(ctx, in.InstanceID, in.RangeQuery, at.cursor, list...)
	if err != nil {
		return out, err
	}
	var last *history.EventKey
	if at.cursor != "" {
		last = &history.EventKey{ReceivedAt: after.At, Seq: after.Seq}
	}
	events, more, err := s.History.Events(ctx, in.InstanceID, in.Phone, whole, last, in.Order == "desc", at.limit)
	if err != nil {
		return out, err
	}
	if more {
		e := events[len(events)-1]
		out.NextCursor = cursor{List: list, Range: whole, At: e.ReceivedAt, Seq: e.Seq}.encode()
	}
	out.Events = make([]Event, len(events))
	for i, e := range events {
		out.Events[i] = EventOf(e)
	}
	return out, nil
}
