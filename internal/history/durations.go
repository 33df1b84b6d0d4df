package history

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// Sums is the durations of a range of time and of its parts.
type Sums struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Bucket  Bucket            `json:"bucket" enum:"none,hour,day,week,month"`
	TZ      string            `json:"tz"`
	Total   presence.Summary  `json:"total"`
	Buckets []presence.Bucket `json:"buckets" doc:"The parts of the range, in order, also the empty ones; none for bucket none"`
}

// ContactDurations sums up a contact's typing, recording and visits.
func (r *Reader) ContactDurations(ctx context.Context, instanceID, phone string, over Calendar) (Sums, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return Sums{}, err
	}
	return r.durations(ctx, []int32{id}, over)
}

// InstanceDurations is ContactDurations over all contacts of an instance.
func (r *Reader) InstanceDurations(ctx context.Context, instanceID string, over Calendar) (Sums, error) {
	id, err := r.instance(ctx, instanceID)
	if err != nil {
		return Sums{}, err
	}
	longest, err := r.q.LongestTimeouts(ctx)
	if err != nil {
		return Sums{}, err
	}
	// Who was in the chat at the beginning of the range was heard of shortly before.
	since := over.From.Add(-time.Duration(longest.Presence) * time.Microsecond)
	contacts, err := r.q.ContactsHeard(ctx, id, db.Time(since), db.Time(over.To))
	if err != nil {
		return Sums{}, err
	}
	return r.durations(ctx, contacts, over)
}

func (r *Reader) durations(ctx context.Context, contacts []int32, over Calendar) (Sums, error) {
	bounds, err := over.bounds()
	if err != nil {
		return Sums{}, err
	}
	edges := make([]pgtype.Timestamptz, len(bounds))
	for i, b := range bounds {
		edges[i] = db.Time(b)
	}
	rows, err := r.q.Durations(ctx, contacts, edges, db.Time(r.now()))
	if err != nil {
		return Sums{}, err
	}
	d := Sums{
		From: over.From.UTC(), To: over.To.UTC(), Bucket: over.Bucket, TZ: over.Zone.String(),
		Buckets: make([]presence.Bucket, len(bounds)-1),
	}
	for i := range d.Buckets {
		d.Buckets[i].Start, d.Buckets[i].End = bounds[i], bounds[i+1]
	}
	for _, row := range rows {
		summary := &d.Total
		if row.Bucket > 0 {
			summary = &d.Buckets[row.Bucket-1].Summary
		}
		measure, err := measureOf(summary, row.Measure)
		if err != nil {
			return Sums{}, err
		}
		*measure = presence.Durations{Count: row.Count, Seconds: row.Seconds, ConfirmedSeconds: row.ConfirmedSeconds}
		if row.Count > 0 {
			measure.MeanSeconds, measure.MedianSeconds = &row.MeanSeconds, &row.MedianSeconds
			measure.P90Seconds, measure.MaxSeconds = &row.P90Seconds, &row.MaxSeconds
		}
	}
	if over.Bucket == NoBucket {
		d.Buckets = []presence.Bucket{}
	}
	return d, nil
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
