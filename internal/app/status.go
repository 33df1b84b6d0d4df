package app

import (
	"time"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
)

// status is the state of this process.
func (a *App) status() api.Status {
	s := api.Status{
		StartedAt: a.startedAt, DatabaseUp: !a.writer.Unavailable(), WebhookToken: a.Auth.Protection(auth.Webhook) != auth.Open,
		Events:  api.EventCounts{Received: a.meter.Received.Load(), Queued: a.writer.Queued()},
		Ignored: a.meter.Ignored.Load(), Refusals: a.meter.Refusals(),
		Spool: api.SpoolStatus{Bytes: a.spool.Bytes()},
	}
	if since := a.spool.Since(); !since.IsZero() {
		s.Spool.OldestSeconds = new(time.Since(since).Seconds())
	}
	return s
}
