package history

import (
	"errors"
	"time"
)

// MaxBuckets is how many buckets a response may have.
const MaxBuckets = 1000

// ErrTooManyBuckets says that a range would be cut into more than MaxBuckets.
var ErrTooManyBuckets = errors.New("the range has more than 1000 buckets; use larger buckets or a shorter range")

// Bucket is a unit of the calendar.
type Bucket string

const (
	NoBucket Bucket = "none"
	Hour     Bucket = "hour"
	Day      Bucket = "day"
	Week     Bucket = "week" // begins on Monday
	Month    Bucket = "month"
)

// Calendar is a range of time cut at the calendar's bounds in a time zone.
type Calendar struct {
	Range
	Bucket Bucket
	Zone   *time.Location
}

// bounds returns the moments between which the buckets lie, the range's own ends included, in UTC. It fails if there are more
// than maxBuckets.
func (c Calendar) bounds(maxBuckets int) ([]time.Time, error) {
	bounds := []time.Time{c.From.UTC()}
	if c.Bucket != NoBucket {
		for at := next(c.From.In(c.Zone), c.Bucket); at.Before(c.To); at = next(at, c.Bucket) {
			if len(bounds) == maxBuckets {
				return nil, ErrTooManyBuckets
			}
			bounds = append(bounds, at.UTC())
		}
	}
	return append(bounds, c.To.UTC()), nil
}

// next returns the first bound of the calendar after a moment, in the moment's location.
func next(at time.Time, bucket Bucket) time.Time {
	year, month, day := at.Date()
	switch bucket {
	case Hour:
		// An hour lasts until the clock shows a full one, or is put forward or back, which it may be at any minute.
		past := time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
		return untilChange(at, at.Add(time.Hour-past))
	case Day:
		return midnight(year, month, day+1, at.Location())
	case Week:
		return midnight(year, month, day+7-(int(at.Weekday())+6)%7, at.Location())
	default:
		return midnight(year, month+1, 1, at.Location())
	}
}

// midnight returns the first moment of a day. If clocks skip midnight, that is the moment of the change; if they show it twice,
// the first. time.Date may return another moment, so the search starts half a day earlier.
func midnight(year int, month time.Month, day int, loc *time.Location) time.Time {
	at := time.Date(year, month, day, 0, 0, 0, 0, loc).Add(-12 * time.Hour)
	for want := time.Date(year, month, day, 12, 0, 0, 0, loc).Day(); at.Day() != want; {
		hour, minute, second := at.Clock()
		left := 24*time.Hour - time.Duration(hour)*time.Hour - time.Duration(minute)*time.Minute - time.Duration(second)*time.Second
		at = untilChange(at, at.Add(left))
	}
	return at
}

// untilChange returns end, or the moment between at and end at which the clocks are changed. ZoneBounds may return a change
// before at (on the last day of a leap year), or one that does not change the offset, so both are checked.
func untilChange(at, end time.Time) time.Time {
	_, offset := at.Zone()
	for from := at; ; {
		_, change := from.ZoneBounds()
		if !change.After(from) || !change.Before(end) {
			return end
		}
		if _, changed := change.Zone(); changed != offset {
			return change
		}
		from = change
	}
}
