package history

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// ContactDurations sums up a contact's typing, recording and visits between the first and the last of bounds, and in each
// bucket between two neighbours of them. bounds has at least two moments, ascending.
func (r *Reader) ContactDurations(
	ctx context.Context, instanceID, phone string, bounds []time.Time,
) (presence.Summary, []presence.Bucket, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return presence.Summary{}, nil, err
	}
	return r.durations(ctx, []int32{id}, bounds)
}

// InstanceDurations is ContactDurations over all contacts of an instance.
func (r *Reader) InstanceDurations(
	ctx context.Context, instanceID string, bounds []time.Time,
) (presence.Summary, []presence.Bucket, error) {
	id, err := r.instance(ctx, instanceID)
	if err != nil {
		return presence.Summary{}, nil, err
	}
	longest, err := r.q.LongestTimeouts(ctx)
	if err != nil {
		return presence.Summary{}, nil, err
	}
	// Who was in the chat at the beginning of the range was heard of shortly before.
	since := bounds[0].Add(-time.Duration(longest.Presence) * time.Microsecond)
	contacts, err := r.q.ContactsHeard(ctx, id, db.Time(since), db.Time(bounds[len(bounds)-1]))
	if err != nil {
		return presence.Summary{}, nil, err
	}
	return r.durations(ctx, contacts, bounds)
}

func (r *Reader) durations(
	ctx context.Context, contacts []int32, bounds []time.Time,
) (total presence.Summary, buckets []presence.Bucket, err error) {
	edges := make([]pgtype.Timestamptz, len(bounds))
	for i, b := range bounds {
		edges[i] = db.Time(b)
	}
	rows, err := r.q.Durations(ctx, contacts, edges, db.Time(r.now()))
	if err != nil {
		return total, nil, err
	}
	buckets = make([]presence.Bucket, len(bounds)-1)
	for i := range buckets {
		buckets[i].Start, buckets[i].End = bounds[i].UTC(), bounds[i+1].UTC()
	}
	for _, row := range rows {
		summary := &total
		if row.Bucket > 0 {
			summary = &buckets[row.Bucket-1].Summary
		}
		measure, err := measureOf(summary, row.Measure)
		if err != nil {
			return total, nil, err
		}
		*measure = presence.Durations{Count: row.Count, Seconds: row.Seconds, ConfirmedSeconds: row.ConfirmedSeconds}
		if row.Count > 0 {
			measure.MeanSeconds, measure.MedianSeconds = &row.MeanSeconds, &row.MedianSeconds
			measure.P90Seconds, measure.MaxSeconds = &row.P90Seconds, &row.MaxSeconds
		}
	}
	return total, buckets, nil
}

func measureOf(s *presence.Summary, name string) (*presence.Durations, error) {
	switch name {
	case "typing":
		return &s.Typing, nil
	case "recording":
		return &s.Recording, nil
	case "inChat":
		return &s.InChat, nil
	}
	return nil, fmt.Errorf("the durations query gave the measure %q", name)
}
