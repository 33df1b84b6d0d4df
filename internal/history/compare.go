package history

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// Comparison is the durations of several contacts in a range of time.
type Comparison struct {
	From     time.Time                 `json:"from"`
	To       time.Time                 `json:"to"`
	Contacts []presence.ContactSummary `json:"contacts" doc:"In the order in which they were asked for"`
}

// Compare sums up each contact's typing, recording and visits. If one is unknown, the error names it.
func (r *Reader) Compare(ctx context.Context, instanceID string, phones []string, in Range) (Comparison, error) {
	c := Comparison{From: in.From.UTC(), To: in.To.UTC(), Contacts: make([]presence.ContactSummary, len(phones))}
	if _, err := r.instance(ctx, instanceID); err != nil {
		return c, err
	}
	for i, phone := range phones {
		sums, err := r.ContactDurations(ctx, instanceID, phone, Calendar{Range: in, Bucket: NoBucket, Zone: time.UTC})
		if err != nil {
			return c, err
		}
		c.Contacts[i] = presence.ContactSummary{Phone: phone, Summary: sums.Total}
	}
	return c, nil
}

// Heatmap is what happened in each hour of the week.
type Heatmap struct {
	From    time.Time        `json:"from"`
	To      time.Time        `json:"to"`
	TZ      string           `json:"tz"`
	Measure presence.Measure `json:"measure" enum:"typing,recording,inChat"`
	Cells   []presence.Heat  `json:"cells" doc:"All 168 hours of the week, from Monday 0 h on"`
}

// Top is the contacts with the most of something.
type Top struct {
	From     time.Time       `json:"from"`
	To       time.Time       `json:"to"`
	By       By              `json:"by" enum:"typing,recording,inChat,visits"`
	Contacts []presence.Rank `json:"contacts" doc:"The greatest first; contacts with nothing are left out"`
}

// By is what contacts are ranked by: the time of a measure, by its name, or the number of visits.
type By string

// ByVisits ranks by the number of visits that start in the range.
const ByVisits By = "visits"

// Measure returns what is ranked, and whether by its count instead of its time.
func (b By) Measure() (m presence.Measure, byCount bool) {
	if b == ByVisits {
		return presence.MeasureInChat, true
	}
	return presence.Measure(b), false
}
