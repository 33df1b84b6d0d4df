package erasure

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

// Report is everything that is stored about one contact, for the person (GDPR art. 15, LGPD art. 18 and 19).
type Report struct {
	InstanceID        string             `json:"instanceId"`
	Phone             string             `json:"phone"`
	ReportedAt        time.Time          `json:"reportedAt"`
	Origin            string             `json:"origin"`
	Purpose           string             `json:"purpose"`
	Retention         string             `json:"retention"` // of events
	IntervalRetention string             `json:"intervalRetention"`
	Events            []reportedEvent    `json:"events"`
	Spans             []presence.Span    `json:"spans"`     // computed from the events
	Intervals         []history.LaneSpan `json:"intervals"` // visits, typing and recording, also those whose events are gone
	Rejected          []reportedBody     `json:"rejected"`  // payloads that name the contact and were not accepted
}

type reportedEvent struct {
	ReceivedAt time.Time       `json:"receivedAt"`
	Status     presence.Status `json:"status"`
	LastSeen   *int64          `json:"lastSeen"`
	Extra      json.RawMessage `json:"extra"`
}

type reportedBody struct {
	Reason string `json:"reason"`
	Body   string `json:"body"`
}

// ReportOn collects the report, without its purpose. The error is a *history.NotFoundError if there is no such contact.
func ReportOn(ctx context.Context, pool *pgxpool.Pool, instanceID, phone string, now time.Time) (Report, error) {
	r := Report{
		InstanceID: instanceID, Phone: phone, ReportedAt: now, Events: []reportedEvent{}, Spans: []presence.Span{}, Rejected: []reportedBody{},
		Origin: "presence callbacks that the messaging gateway of the instance sent: the contact's app reports to it when the contact " +
			"is in the chat, types or records",
	}
	s, err := settings.Read(ctx, pool)
	if err != nil {
		return r, err
	}
	r.Retention = settings.ShowKept(s.Effective(instanceID, "retention"))
	r.IntervalRetention = settings.ShowKept(s.Effective(instanceID, "interval_retention"))
	reader := history.NewReader(pool, func() time.Time { return now })
	whole := history.Range{From: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	for e, err := range reader.ContactEvents(ctx, instanceID, phone, whole) {
		if err != nil {
			return r, err
		}
		r.Events = append(r.Events, reportedEvent{e.ReceivedAt, e.Status, e.LastSeen, e.Extra})
	}
	if len(r.Events) > 0 {
		if r.Spans, err = reader.Timeline(ctx, instanceID, phone, whole, time.Time{}, 2*len(r.Events)+3); err != nil {
			return r, err
		}
	}
	if r.Intervals, err = reader.Intervals(ctx, instanceID, phone, whole); err != nil {
		return r, err
	}
	for row, err := range rejectedAbout(ctx, db.New(pool), instanceID, phone) {
		if err != nil {
			return r, err
		}
		r.Rejected = append(r.Rejected, reportedBody{row.Reason, string(row.Body)})
	}
	return r, nil
}
