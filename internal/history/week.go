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
	Weeks int              `json:"weeks" doc:"How many weeks the range has, begun ones included"`
	Cells []presence.Habit `json:"cells" doc:"All 168 hours of the week, from Monday 0 h on"`
	Best  []presence.Habit `json:"best" doc:"The hours with the largest shares, at most 5, the largest first; none with share 0"`
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
	for i := range h.Cells {
		h.Cells[i].Weekday, h.Cells[i].Hour = i/24+1, i%24
	}
	hours, err := r.hours(ctx, of, measure, in, zone)
	var sums [weekHours]accumulator
	for _, hour := range hours {
		sum := &sums[weekHour(hour.start.In(zone))]
		sum.inside += hour.inside
		sum.confirmed += hour.confirmed
		sum.starts += hour.starts
	}
	for i, sum := range sums {
		c := &h.Cells[i]
		c.Count, c.Seconds, c.ConfirmedSeconds = sum.starts, seconds(float64(sum.inside)), seconds(float64(sum.confirmed))
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
		in.To = later(now, in.From)
	}
	in.From = later(in.From, in.To.AddDate(-100, 0, 0))
	h := Habits{
		From: in.From.UTC(), To: in.To.UTC(), TZ: zone.String(), Weeks: int(math.Ceil(in.To.Sub(in.From).Hours() / weekHours)),
		Cells: make([]presence.Habit, weekHours), Best: []presence.Habit{},
	}
	hours, err := r.hours(ctx, subject{contact: id}, presence.MeasureInChat, in, zone)
	if err != nil {
		return h, err
	}
	// By date, because an hour comes twice on the day on which the clocks go back.
	type place struct {
		cell       int
		year, date int
	}
	present, weeks := [weekHours]int{}, [weekHours]int{}
	seen := map[place]bool{}
	for _, hour := range hours {
		at := hour.start.In(zone)
		p := place{weekHour(at), at.Year(), at.YearDay()}
		if (hour.inside > 0 || hour.starts > 0) && !seen[p] {
			seen[p] = true
			present[p.cell]++
		}
	}
	for day := midnight(in.From.In(zone).Year(), in.From.In(zone).Month(), in.From.In(zone).Day(), zone); day.Before(in.To); day = next(day, Day) {
		for hour := range 24 {
			start := time.Date(day.Year(), day.Month(), day.Day(), hour, 0, 0, 0, zone)
			if start.Before(in.To) && start.Add(time.Hour).After(in.From) {
				weeks[weekHour(start)]++
			}
		}
	}
	for i := range h.Cells {
		h.Cells[i] = presence.Habit{Weekday: i/24 + 1, Hour: i % 24}
		if weeks[i] > 0 {
			h.Cells[i].Share = min(float64(present[i])/float64(weeks[i]), 1)
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

// weekHour returns the hour of the week of a local time, 0 for Monday's first.
func weekHour(at time.Time) int { return (int(at.Weekday())+6)%7*24 + at.Hour() }

// hour is what lies of one measure in one hour of the clock.
type hour struct {
	start time.Time
	*accumulator
}

// hours sums up intervals by hours of the clock in a time zone, also those in which nothing is.
func (r *Reader) hours(
	ctx context.Context, of subject, measure presence.Measure, in Range, zone *time.Location,
) ([]hour, error) {
	months, err := r.q.Months(ctx)
	if err != nil {
		return nil, err
	}
	// No hours of years in which there can be nothing.
	in = Range{later(in.From, months.StartsAt.Time), earlier(in.To, months.EndsAt.Time)}
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
