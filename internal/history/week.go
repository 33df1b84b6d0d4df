package history

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// Heatmap is what happened in each hour of the week.
type Heatmap struct {
	From    time.Time        `json:"from"`
	To      time.Time        `json:"to"`
	TZ      string           `json:"tz"`
	Measure presence.Measure `json:"measure" enum:"typing,recording,inChat"`
	Cells   []presence.Heat  `json:"cells" doc:"All 168 hours of the week, from Monday 0 h on"`
}

// Habits is when a contact is usually in the chat.
type Habits struct {
	From  time.Time        `json:"from"`
	To    time.Time        `json:"to"`
	TZ    string           `json:"tz"`
	Weeks int              `json:"weeks" doc:"Number of weeks in the range, including partial ones"`
	Cells []presence.Habit `json:"cells" doc:"All 168 hours of the week, from Monday 0 h on"`
	Best  []presence.Habit `json:"best" doc:"The hours with the largest shares, at most 5, the largest first; hours with share 0 are left out"`
}

const bestHours = 5

// Heatmap sums up what a contact did in each hour of the week in a time zone, or for an empty phone all contacts of an instance.
func (r *Reader) Heatmap(
	ctx context.Context, instanceID, phone string, measure presence.Measure, in Range, zone *time.Location,
) (Heatmap, error) {
	of, err := r.subject(ctx, instanceID, phone)
	if err != nil {
		return Heatmap{}, err
	}
	h := Heatmap{From: in.From.UTC(), To: in.To.UTC(), TZ: zone.String(), Measure: measure, Cells: make([]presence.Heat, weekHours)}
	hours, err := r.hours(ctx, of, measure, in, zone)
	var sums [weekHours]accumulator
	for _, hour := range hours {
		sum := &sums[weekHour(hour.start.In(zone))]
		sum.inside += hour.inside
		sum.confirmed += hour.confirmed
		sum.starts += hour.starts
	}
	for i, sum := range sums {
		h.Cells[i] = presence.Heat{
			Weekday: i/24 + 1, Hour: i % 24,
			Count: sum.starts, Seconds: seconds(float64(sum.inside)), ConfirmedSeconds: seconds(float64(sum.confirmed)),
		}
	}
	return h, err
}

// Habits returns for each hour of the week the share of the range's weeks in which a contact was in the chat in that hour,
// and the hours with the largest shares. The range ends now at the latest.
func (r *Reader) Habits(ctx context.Context, instanceID, phone string, in Range, zone *time.Location) (Habits, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return Habits{}, err
	}
	if now := r.now(); in.To.After(now) {
		in.To = presence.Later(now, in.From)
	}
	in.From = presence.Later(in.From, in.To.AddDate(-100, 0, 0))
	h := Habits{
		From: in.From.UTC(), To: in.To.UTC(), TZ: zone.String(), Weeks: weeksOf(in, zone),
		Cells: make([]presence.Habit, weekHours), Best: []presence.Habit{},
	}
	hours, err := r.hours(ctx, subject{contact: id}, presence.MeasureInChat, in, zone)
	if err != nil {
		return h, err
	}
	var present, weeks hourCounts
	for _, hour := range hours {
		if hour.inside > 0 || hour.starts > 0 {
			present.add(hour.start.In(zone))
		}
	}
	for at := in.From.In(zone); at.Before(in.To); at = next(at, Hour) {
		weeks.add(at)
	}
	for i := range h.Cells {
		h.Cells[i] = presence.Habit{Weekday: i/24 + 1, Hour: i % 24}
		if n := weeks.cells[i]; n > 0 {
			h.Cells[i].Share = float64(present.cells[i]) / float64(n)
		}
		if h.Cells[i].Share > 0 {
			h.Best = append(h.Best, h.Cells[i])
		}
	}
	slices.SortStableFunc(h.Best, func(a, b presence.Habit) int { return cmp.Compare(b.Share, a.Share) })
	h.Best = h.Best[:min(bestHours, len(h.Best))]
	return h, nil
}

const weekHours = 7 * 24

// hourCounts has for each hour of the week in how many weeks it was added. Hours are added in their order; one that is repeated
// when clocks go back counts once.
type hourCounts struct {
	cells [weekHours]int
	last  [weekHours]time.Time // the latest that was added, as the clocks show it
}

func (c *hourCounts) add(at time.Time) {
	cell, hour := weekHour(at), wall(at).Truncate(time.Hour)
	if !hour.Equal(c.last[cell]) {
		c.last[cell] = hour
		c.cells[cell]++
	}
}

// weeksOf counts the weeks of a range, including partial ones, by what the clocks show: the week in which they go back is one.
func weeksOf(in Range, zone *time.Location) int {
	weeks := int(math.Ceil(wall(in.To.In(zone)).Sub(wall(in.From.In(zone))).Hours() / weekHours))
	if in.From.Before(in.To) { // also within an hour that comes twice
		weeks = max(weeks, 1)
	}
	return weeks
}

// wall returns what the clocks in at's time zone show, as a time in UTC.
func wall(at time.Time) time.Time {
	_, offset := at.Zone()
	return at.Add(time.Duration(offset) * time.Second).UTC()
}

// weekHour returns the hour of the week of a local time, 0 for Monday's first.
func weekHour(at time.Time) int { return (int(at.Weekday())+6)%7*24 + at.Hour() }

// hour has the sums of one measure in one hour of the clock.
type hour struct {
	start time.Time
	*accumulator
}

// hours sums up intervals by hours of the clock in a time zone, including empty ones.
func (r *Reader) hours(
	ctx context.Context, of subject, measure presence.Measure, in Range, zone *time.Location,
) ([]hour, error) {
	months, err := r.q.Months(ctx)
	if err != nil {
		return nil, err
	}
	// No hours of years in which there can be nothing.
	in = Range{presence.Later(in.From, months.StartsAt.Time), presence.Earlier(in.To, months.EndsAt.Time)}
	if !months.StartsAt.Valid || !in.From.Before(in.To) {
		return nil, nil
	}
	bounds, err := Calendar{Range: in, Bucket: Hour, Zone: zone}.bounds(math.MaxInt)
	if err != nil {
		return nil, err
	}
	buckets, err := r.sum(ctx, of, bounds, false)
	if err != nil {
		return nil, err
	}
	hours := make([]hour, len(buckets))
	for i, b := range buckets {
		hours[i] = hour{bounds[i], b[measure]}
	}
	return hours, nil
}
