package history

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Top is the contacts with the most of something.
type Top struct {
	From     time.Time       `json:"from"`
	To       time.Time       `json:"to"`
	By       By              `json:"by" enum:"typing,recording,inChat,visits"`
	Contacts []presence.Rank `json:"contacts" doc:"The largest first; contacts with nothing are left out"`
}

// By is what contacts are ranked by: the time of a measure, by its name, or the number of visits.
type By string

// ByVisits ranks by the number of visits that start in the range.
const ByVisits By = "visits"

// Top returns the contacts of an instance with the most time within a range, or the most visits that start there, largest
// first, equal ones in the order of their phones; at most limit.
func (r *Reader) Top(ctx context.Context, instanceID string, by By, in Range, limit int) (Top, error) {
	top := Top{From: in.From.UTC(), To: in.To.UTC(), By: by, Contacts: []presence.Rank{}}
	id, err := r.instance(ctx, instanceID)
	if err != nil {
		return top, err
	}
	measure := presence.Measure(by)
	if by == ByVisits {
		measure = presence.MeasureInChat
	}
	var rows []db.TopIntervalsRow
	err = r.wide(ctx, func(q *db.Queries) (err error) {
		rows, err = q.TopIntervals(ctx, db.TopIntervalsParams{
			InstanceID: id, Measure: string(measure), ByCount: by == ByVisits,
			RangeStart: postgres.Time(in.From), RangeEnd: postgres.Time(in.To), Now: postgres.Time(r.now()), MaxRows: int32(limit),
		})
		return err
	})
	for _, row := range rows {
		top.Contacts = append(top.Contacts, presence.Rank{
			Phone: row.Phone, Count: row.Intervals,
			Seconds: seconds(float64(row.Micros)), ConfirmedSeconds: seconds(float64(row.ConfirmedMicros)),
		})
	}
	return top, err
}

// Comparison is the durations of several contacts in a range of time.
type Comparison struct {
	From     time.Time                 `json:"from"`
	To       time.Time                 `json:"to"`
	Contacts []presence.ContactSummary `json:"contacts" doc:"In the order of the request"`
}

// Compare sums up each contact's typing, recording and visits. If one is unknown, the error names it.
func (r *Reader) Compare(ctx context.Context, instanceID string, phones []string, in Range) (Comparison, error) {
	c := Comparison{From: in.From.UTC(), To: in.To.UTC(), Contacts: make([]presence.ContactSummary, len(phones))}
	if _, err := r.instance(ctx, instanceID); err != nil {
		return c, err
	}
	ids := make([]int32, len(phones))
	for i, phone := range phones {
		var err error
		if ids[i], err = r.contact(ctx, instanceID, phone); err != nil {
			return c, err
		}
	}
	sums, err := r.sumContacts(ctx, ids, []time.Time{in.From, in.To})
	if err != nil {
		return c, err
	}
	for i, id := range ids {
		c.Contacts[i] = presence.ContactSummary{Phone: phones[i], Summary: summary(sums[id][0])}
	}
	return c, nil
}
