package live

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// listen gets hints of other processes while there are clients. It does not work behind a pooler.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if h.awake.Load() {
			err := h.listenOnce(ctx)
			if errors.Is(err, errPooled) {
				return
			}
			h.warn(ctx, "listening for changes by other processes", err)
		}
		_ = presence.Sleep(ctx, pollInterval)
	}
}

var errPooled = errors.New("a pooler does not support notifications")

func (h *Hub) listenOnce(ctx context.Context) error {
	conn, err := postgres.Open(ctx, h.pool, "live") // NotifyLive looks for this name
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
		case err == nil && hint.Payload == own: // the hint is from this process
		case err == nil:
			signal(h.pollNow)
		case limited.Err() == nil || ctx.Err() != nil:
			return err
		}
	}
	return nil
}

// notify tells other processes that this one has stored events, with at most one hint in 50 ms. It does not use the batch's
// transaction: there, NOTIFY would make all commits of the server wait for each other. If no process listens, it checks only
// each second.
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
