package app

import (
	"time"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/spool"
)

// status is the state of this process.
func status(startedAt time.Time, meter *metrics.Metrics, authenticator *auth.Authenticator, writer *ingest.Writer, spooled *spool.Spool) api.Status {
	s := api.Status{
		StartedAt: startedAt, DatabaseUp: !writer.Unavailable(), WebhookToken: authenticator.Protection(auth.Webhook) != auth.Open,
		Events:  api.EventCounts{Received: meter.Received.Load(), Queued: writer.Queued()},
		Ignored: meter.Ignored.Load(), Refusals: meter.Refusals(),
		Spool: api.SpoolStatus{Bytes: spooled.Bytes()},
	}
	if since := spooled.Since(); !since.IsZero() {
		age := time.Since(since).Seconds()
		s.Spool.OldestSeconds = &age
	}
	return s
}
