package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/postgres"
)

const (
	pingInterval = 500 * time.Millisecond
	newInterval  = 5 * time.Second
)

// readiness checks whether the database accepts events, and new connections that can do maintenance. Anybody may request it, so
// all requests share one check now and then.
type readiness struct {
	writer  *ingest.Writer
	pool    *pgxpool.Pool
	timeout time.Duration

	mu          sync.Mutex
	ping, fresh result
}

type result struct {
	at  time.Time
	err error
}

// resultOf is called after a check, so that the result of one that took long is not old already.
func resultOf(err error) result { return result{time.Now(), err} }

func (r *readiness) check(ctx context.Context) error {
	if r.writer.Unavailable() {
		return errors.New("the database does not accept events")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout) // other requests use the result too
	defer cancel()
	if time.Since(r.ping.at) > pingInterval {
		r.ping = resultOf(r.pool.Ping(ctx))
	}
	interval := newInterval
	if r.fresh.err != nil {
		interval = pingInterval
	}
	if r.ping.err == nil && time.Since(r.fresh.at) > interval {
		r.fresh = resultOf(postgres.CheckNew(ctx, r.pool))
	}
	return errors.Join(r.ping.err, r.fresh.err)
}
