package api

import (
	"context"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/history"
)

// These types are exported because huma reads no fields of unexported embedded structs.

// InstancePath is the part of a path that names an instance.
type InstancePath struct {
	InstanceID string `path:"instanceId" maxLength:"128" doc:"The instance, as the gateway names it" example:"3C01A7E5B2D94F608C1D2E3F4A5B6C7D"`
}

// ContactPath is the part of a path that names a contact.
type ContactPath struct {
	InstancePath
	Phone string `path:"phone" maxLength:"128" doc:"The contact, as the gateway names it" example:"5544999999999"`
}

// RangeQuery is the parameters of a range of time.
type RangeQuery struct {
	From string `query:"from" doc:"Start of the range: RFC 3339 with any offset, or a date, which means the start of that day in tz, or in the instance's time zone; default: 24 hours before to" example:"2026-10-01T00:00:00Z"`
	To   string `query:"to" doc:"End of the range, exclusive, in the same form as from; default: now" example:"2026-10-02T00:00:00Z"`
	Last string `query:"last" doc:"Length of the range, instead of from: 90m, 24h, 7d, 4w" example:"7d"`
}

// CalendarQuery is the parameters of lists that follow a calendar.
type CalendarQuery struct {
	RangeQuery
	FormatQuery
	TZ string `query:"tz" doc:"IANA time zone of days and hours; default: the setting time_zone of the instance" example:"America/Sao_Paulo"`
}

// rangeOf returns the range. Dates are in loc or, if it is nil, in the instance's time zone.
func (s *server) rangeOf(ctx context.Context, instanceID string, q RangeQuery, now time.Time, loc *time.Location) (history.Range, error) {
	// A plus sign that is not escaped arrives as a blank.
	text := history.RangeText{From: strings.Replace(q.From, " ", "+", 1), To: strings.Replace(q.To, " ", "+", 1), Last: q.Last}
	if loc == nil {
		loc = time.UTC
		if text.NeedsZone() {
			var err error
			if loc, err = s.History.Zone(ctx, instanceID, ""); err != nil {
				return history.Range{}, err
			}
		}
	}
	return text.Range(now, loc)
}

// calendar returns the range and the time zone of a request, and a Reader with a fixed clock.
func (s *server) calendar(ctx context.Context, instanceID string, q CalendarQuery) (*history.Reader, history.Calendar, error) {
	now := s.Now()
	loc, err := s.History.Zone(ctx, instanceID, q.TZ)
	if err != nil {
		return nil, history.Calendar{}, err
	}
	in, err := s.rangeOf(ctx, instanceID, q.RangeQuery, now, loc)
	return s.History.At(now), history.Calendar{Range: in, Zone: loc}, err
}
