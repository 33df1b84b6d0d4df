package history

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// RangeText is a range of time as people write it. From and To are RFC 3339 times with any offset, or dates, which mean where
// the day starts. Last is the length of a range that ends at To. Empty fields have defaults: To is now, From is 24 hours before
// To.
type RangeText struct{ From, To, Last string }

// InvalidError says what is wrong with one parameter of a request, for example from, to or last.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

var plainDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

const maxLast = 100 * 366 * 24 * time.Hour

// NeedsZone says whether the range depends on a time zone.
func (r RangeText) NeedsZone() bool {
	return plainDate.MatchString(r.From) || plainDate.MatchString(r.To)
}

// Range returns the range. Days are those of loc.
func (r RangeText) Range(now time.Time, loc *time.Location) (in Range, err error) {
	if in.To, err = ParseMoment("to", r.To, now, loc); err != nil {
		return in, err
	}
	length := 24 * time.Hour
	if r.Last != "" {
		if r.From != "" {
			return in, &InvalidError{"last", "pass from or last, not both"}
		}
		length, err = presence.ParseDuration(r.Last)
		if err != nil || length < time.Second || length > maxLast {
			return in, &InvalidError{"last", "it must be a duration like 90m, 24h, 7d or 4w"}
		}
	}
	if in.From, err = ParseMoment("from", r.From, in.To.Add(-length), loc); err != nil {
		return in, err
	}
	if in.From.Year() < 1 {
		field := "to"
		if r.Last != "" {
			field = "last"
		}
		return in, &InvalidError{field, "the range must not begin before the year 1"}
	}
	if !in.From.Before(in.To) {
		if r.From == "" {
			return in, &InvalidError{"to", "it must be later than from"}
		}
		return in, &InvalidError{"from", "it must be earlier than to"}
	}
	return in, nil
}

// ParseMoment reads one end of a range; field is its name in errors.
func ParseMoment(field, text string, missing time.Time, loc *time.Location) (time.Time, error) {
	if text == "" {
		return missing, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if plainDate.MatchString(text) {
		if at, err = time.Parse(time.DateOnly, text); err == nil {
			at = midnight(at.Year(), at.Month(), at.Day(), loc)
		}
	}
	if err != nil {
		return at, &InvalidError{field, "it must be a time like 2026-10-01T09:00:00Z or 2026-10-01T06:00:00-03:00, or a date like 2026-10-01"}
	}
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		return at, &InvalidError{field, "its year must be from 1 to 9999"}
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

// Zone returns the time zone that a request names or, if name is "", that the settings give to an instance. An instance that is
// not known has the default.
func (r *Reader) Zone(ctx context.Context, instanceID, name string) (*time.Location, error) {
	if name != "" {
		loc, err := presence.LoadZone(name)
		if err != nil {
			return nil, &InvalidError{"tz", err.Error()}
		}
		return loc, nil
	}
	if !IsText(instanceID) {
		instanceID = ""
	}
	setting, err := r.q.TimeZone(ctx, instanceID)
	if err != nil {
		return nil, err
	}
	loc, err := presence.LoadZone(setting)
	if err != nil {
		return nil, fmt.Errorf("the setting time_zone: %w", err)
	}
	return loc, nil
}
