package api

import (
	"context"
	"slices"
	"time"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/presence"
)

// Status is the state of the process, without what the database has.
type Status struct {
	StartedAt    time.Time         `json:"startedAt" doc:"When this process started; its counts begin there"`
	DatabaseUp   bool              `json:"databaseUp" doc:"Whether PostgreSQL accepts events"`
	WebhookToken bool              `json:"webhookToken" doc:"Whether the receiver requires a token"`
	Events       EventCounts       `json:"events"`
	Ignored      int64             `json:"ignored" doc:"Callbacks of types that are ignored"`
	Refusals     []metrics.Refusal `json:"refusals" doc:"Requests that the receiver refused"`
	Spool        SpoolStatus       `json:"spool"`
}

// EventCounts counts events.
type EventCounts struct {
	Received int64 `json:"received" doc:"Since this process started"`
	Queued   int   `json:"queued" doc:"Waiting to be written"`
}

// SpoolStatus describes the events that are not in PostgreSQL yet.
type SpoolStatus struct {
	Bytes         int64    `json:"bytes"`
	OldestSeconds *float64 `json:"oldestSeconds" doc:"Null if the spool is empty"`
}

type statusBody struct {
	Status
	Now        time.Time           `json:"now"`
	Version    string              `json:"version"`
	Restricted bool                `json:"restricted" doc:"Whether the token is limited to some instances. If so, counts over all instances and refused requests of other instances are left out"`
	Background backgroundStatus    `json:"background"`
	Instances  []presence.Instance `json:"instances" doc:"At most 1000, in the order of their ids"`
}

type backgroundStatus struct {
	BehindSeconds float64 `json:"behindSeconds" doc:"How many seconds the stored intervals are behind; 0 if nothing is left to store"`
	LateContacts  int64   `json:"lateContacts" doc:"Contacts with late events. Until their intervals are stored, queries compute them"`
}

func (s *server) status(ctx context.Context, _ *struct{}) (out statusBody, err error) {
	out.Status, out.Now, out.Version = s.Config.Status(), s.Now(), s.Version
	visible := auth.FromContext(ctx).Instances()
	if out.Restricted = visible != nil; out.Restricted {
		out.Events, out.Ignored, out.Spool = EventCounts{}, 0, SpoolStatus{}
		out.Refusals = slices.DeleteFunc(out.Refusals, func(r metrics.Refusal) bool { return !slices.Contains(visible, r.Instance) })
	}
	behind, late, err := s.History.At(out.Now).Background(ctx)
	if err != nil {
		return out, err
	}
	if out.Restricted {
		late = 0
	}
	out.Background = backgroundStatus{behind, late}
	out.Instances, err = s.History.Instances(ctx, visible, "", 1000)
	return out, err
}
