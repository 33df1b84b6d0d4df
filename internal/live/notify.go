package live

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// listen gets other processes' hints while somebody listens here. A pooler has no connection for that.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if h.awake.Load() {
			err := h.listenOnce(ctx)
			if errors.Is(err, errPooled) {
				return
			}
			if err != nil && ctx.Err() == nil && !postgres.IsAway(err) {
				h.log.Warn("listening for changes by other processes", "error", err)
			}
		}
		_ = presence.Sleep(ctx, pollInterval)
	}
}

var errPooled = errors.New("a pooler does not support notifications")

func (h *Hub) listenOnce(ctx context.Context) error {
	conn, err := postgres.Open(ctx, h.pool, "live") // the name that NotifyLive looks for
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if postgres.Pooled(conn) {
		return errPooled
	}
	if _, err := conn.Exec(ctx, "LISTEN presencelog_live"); err != nil {
		return err
	}
	own := strconv.Itoa(int(conn.PgConn().PID()))
	h.listenerPID.Store(int32(conn.PgConn().PID()))
	defer h.listenerPID.Store(0)
	for h.awake.Load() {
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		hint, err := conn.WaitForNotification(limited)
		cancel()
		switch {
		case err == nil && hint.Payload == own: // by this process
		case err == nil:
			signal(h.pollNow)
		case limited.Err() == nil || ctx.Err() != nil:
			return err
		}
	}
	return nil
}

// notify tells other processes about what this one has stored. It gives at most a hint in 50 ms, on a connection of its own: in
// the transaction of a batch, NOTIFY would make all commits of the server wait for each other. While nobody listens, it only
// looks each second whether somebody does.
func (h *Hub) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.notifyNow:
		}
		limited, cancel := context.WithTimeout(ctx, pollTimeout)
		listeners, err := h.q.NotifyLive(limited, h.listenerPID.Load())
		cancel()
		wait := minPollInterval
		if listeners == 0 || err != nil {
			wait = pollInterval
		}
		_ = presence.Sleep(ctx, wait)
	}
}
