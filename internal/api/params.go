package api

import (
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/history"
)

// What follows is exported only because huma reads no fields of unexported embedded structs.

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
	From string `query:"from" doc:"Where the range begins, RFC 3339 with any offset; default: 24 hours before to" example:"2026-10-01T00:00:00Z"`
	To   string `query:"to" doc:"Where the range ends, RFC 3339 with any offset, itself not in it; default: now" example:"2026-10-02T00:00:00Z"`
}

// read returns the range; where the page is a later one, what was left to its default is what it was for the first page.
func (q RangeQuery) read(now time.Time, page *cursor) (history.Range, error) {
	var in history.Range
	var err error
	if in.To, err = moment("to", q.To, now); err != nil {
		return in, err
	}
	if page != nil && q.To == "" {
		in.To = page.Range.To
	}
	if in.From, err = moment("from", q.From, in.To.Add(-24*time.Hour)); err != nil {
		return in, err
	}
	if page != nil && q.From == "" {
		in.From = page.Range.From
	}
	if !in.From.Before(in.To) {
		if q.From == "" {
			return in, invalid("to", "it must be later than from")
		}
		return in, invalid("from", "it must be earlier than to")
	}
	return in, nil
}

func moment(parameter, value string, missing time.Time) (time.Time, error) {
	if value == "" {
		return missing, nil
	}
	// A plus sign that is not escaped arrives as a blank.
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(value, " ", "+", 1))
	if err != nil {
		return at, invalid(parameter, "it must be a time like 2026-10-01T09:00:00Z or 2026-10-01T06:00:00-03:00")
	}
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		return at, invalid(parameter, "its year must be from 1 to 9999")
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

// zone reads a time zone's name. "Local" would be this machine's.
func zone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name == "" {
		return nil, invalid("tz", "it must be an IANA time zone like America/Sao_Paulo")
	}
	return loc, nil
}
