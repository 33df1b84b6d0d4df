package hook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	refreshInterval = time.Second     // of the hooks, and between queries of due messages
	renewInterval   = 5 * time.Second // of the lease
	dropTimeout     = 5 * time.Second
	trimInterval    = time.Minute
	catchUp         = time.Hour        // older changes are not sent
	settled         = 10 * time.Second // after this time, a change is certainly queued
	maxPending      = 10_000           // messages that wait for one hook
	dueAtOnce       = 64
	queueAtOnce     = 1000
	firstRetry      = 5 * time.Second
	maxRetry        = time.Hour
)

// Sender queues and sends messages. Of the processes that share a database, only one sends. Without hooks it only checks for
// them now and then.
type Sender struct {
	pool   *pgxpool.Pool
	q      *db.Queries
	hub    *live.Hub
	log    *slog.Logger
	holder pgtype.UUID
	hooks  []Hook
}

// NewSender returns a Sender of the changes in hub. pool needs a few connections.
func NewSender(pool *pgxpool.Pool, hub *live.Hub, log *slog.Logger) *Sender {
	return &Sender{pool: pool, q: db.New(pool), hub: hub, log: log, holder: pgtype.UUID{Bytes: uuid.New(), Valid: true}}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.try(ctx)
		if err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
			s.log.Warn("sending webhooks", "error", err)
		}
		_ = presence.Sleep(ctx, renewInterval)
	}
}

// try sends as long as there are hooks and this process holds the lease.
func (s *Sender) try(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil || len(s.hooks) == 0 {
		return err
	}
	queuedUntil, err := s.q.HoldHookLease(ctx, s.holder)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // another process sends
	} else if err != nil {
		return err
	}
	defer func() {
		ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
		defer cancel()
		_ = s.q.DropHookLease(ended, s.holder) // or it expires
	}()
	client := s.hub.Subscribe(live.Filter{}, "")
	defer client.Close()
	if client.AwaitReady(ctx) != nil {
		return nil // it stops, or the hub logs why
	}
	// The lease may have expired meanwhile.
	if _, err := s.q.HoldHookLease(ctx, s.holder); errors.Is(err, pgx.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	if err := s.catchUp(ctx, queuedUntil.Time); err != nil {
		return err
	}
	return s.send(ctx, client)
}

// refresh reads the hooks that are not disabled.
func (s *Sender) refresh(ctx context.Context) error {
	all, err := List(ctx, s.pool)
	if err != nil {
		return err
	}
	s.hooks = slices.DeleteFunc(all, func(h Hook) bool { return h.DisabledAt != nil })
	return nil
}

// catchUp queues the changes since another process stopped sending.
func (s *Sender) catchUp(ctx context.Context, since time.Time) error {
	now := presence.Now()
	since = presence.Later(presence.Earlier(since, now), now.Add(-catchUp))
	longest, err := s.q.LongestTimeout(ctx)
	if err != nil {
		return err
	}
	rows, err := s.q.ChangesSince(ctx, db.ChangesSinceParams{
		ActiveSince: postgres.Time(since.Add(-time.Duration(longest) * time.Microsecond)), Since: postgres.Time(since), Now: postgres.Time(now),
	})
	if err != nil {
		return err
	}
	changes := make([]*live.Message, len(rows))
	for i, r := range rows {
		changes[i] = &live.Message{State: live.State{
			InstanceID: r.Instance, Phone: r.Phone, Status: presence.Status(r.Status), Since: r.Since.Time.UTC(),
			LastEventAt: r.LastEventAt.Time.UTC(),
		}, Previous: presence.Status(r.Previous)}
	}
	if err := s.queue(ctx, changes); err != nil {
		return err
	}
	return s.markQueued(ctx, now) // so that the next attempt does not begin as early if this one took too long
}

// markQueued stores that the changes up to a moment are queued.
func (s *Sender) markQueued(ctx context.Context, at time.Time) error {
	return s.q.SetHooksQueued(ctx, db.SetHooksQueuedParams{QueuedUntil: postgres.Time(at.Add(-settled)), Holder: s.holder})
}

// send queues the changes in the hub, and has workers send them, until the lease is lost.
func (s *Sender) send(ctx context.Context, client *live.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	running := map[int32]*worker{}
	refresh, renew, trim := time.Tick(refreshInterval), time.Tick(renewInterval), time.Tick(trimInterval)
	for {
		s.adjust(ctx, running, &workers)
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-client.Ended:
			return nil
		case <-client.Wake():
			var changes []*live.Message
			if changes, err = client.Take(); err == nil {
				err = s.queue(ctx, changes)
				for _, w := range running {
					w.signal()
				}
			}
		case <-refresh:
			if err = s.refresh(ctx); err == nil && len(s.hooks) == 0 {
				return nil
			}
		case at := <-renew:
			if _, err = s.q.HoldHookLease(ctx, s.holder); errors.Is(err, pgx.ErrNoRows) {
				return nil
			} else if err == nil {
				err = s.markQueued(ctx, at)
			}
		case <-trim:
			err = s.q.TrimDeliveries(ctx, maxPending)
		}
		if err != nil {
			return err // catchUp queues what was missed
		}
	}
}

// queue stores a message for each hook and change that it wants.
func (s *Sender) queue(ctx context.Context, changes []*live.Message) error {
	var rows db.QueueDeliveriesParams
	flush := func() error {
		if len(rows.Ids) == 0 {
			return nil
		}
		err := s.q.QueueDeliveries(ctx, rows)
		rows = db.QueueDeliveriesParams{}
		return err
	}
	for _, c := range changes {
		for _, kind := range kindsOf(c.Previous, c.Status) {
			for i := range s.hooks {
				if h := &s.hooks[i]; h.wants(kind, c.InstanceID, c.Since) {
					rows.HookIds = append(rows.HookIds, h.ID)
					rows.Ids = append(rows.Ids, messageID(c, kind))
					rows.Bodies = append(rows.Bodies, bodyOf(c, kind))
				}
			}
		}
		if len(rows.Ids) >= queueAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// adjust starts a worker for each hook that has none, and stops those whose hook is gone.
func (s *Sender) adjust(ctx context.Context, running map[int32]*worker, workers *sync.WaitGroup) {
	wanted := map[int32]bool{}
	for _, h := range s.hooks {
		wanted[h.ID] = true
		if running[h.ID] == nil {
			ctx, cancel := context.WithCancel(ctx)
			w := &worker{sender: s, hook: h, client: newClient(h.Private), wake: make(chan struct{}, 1), stop: cancel}
			running[h.ID] = w
			workers.Go(func() { w.run(ctx) })
		}
	}
	for id, w := range running {
		if !wanted[id] {
			w.stop()
			delete(running, id)
		}
	}
}

// worker sends the messages of one hook.
type worker struct {
	sender *Sender
	hook   Hook
	client *http.Client
	wake   chan struct{} // has room for one signal
	stop   context.CancelFunc
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) run(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	for ctx.Err() == nil {
		sent, err := w.round(ctx)
		if err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
			w.sender.log.Warn("sending webhooks", "hook", w.hook.ID, "error", err)
		}
		if sent == 0 || err != nil {
			select {
			case <-ctx.Done():
			case <-w.wake:
			case <-time.After(refreshInterval):
			}
		}
	}
}

// round sends due messages and stores the results.
func (w *worker) round(ctx context.Context) (sent int, err error) {
	q := w.sender.q
	due, err := q.DueDeliveries(ctx, db.DueDeliveriesParams{HookID: w.hook.ID, MaxRows: dueAtOnce})
	if err != nil || len(due) == 0 {
		return 0, err
	}
	results := make([]error, len(due))
	var attempts errgroup.Group
	attempts.SetLimit(parallel)
	for i, d := range due {
		attempts.Go(func() error {
			results[i] = post(ctx, w.client, &w.hook, d.ID, d.Body, time.Now())
			return nil
		})
	}
	_ = attempts.Wait()
	if ctx.Err() != nil { // interrupted messages have not failed
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
	}
	// First those that were accepted: they must not be sent again, whatever becomes of the others.
	done := db.DeliveriesDoneParams{HookID: w.hook.ID}
	for i, d := range due {
		if results[i] == nil {
			done.Ids = append(done.Ids, d.ID)
		}
	}
	if len(done.Ids) > 0 {
		if err := errors.Join(q.DeliveriesDone(ctx, done), q.HookSucceeded(ctx, w.hook.ID)); err != nil {
			return len(due), err
		}
	}
	for i, d := range due {
		if results[i] != nil && !errors.Is(results[i], context.Canceled) {
			if err := w.failed(ctx, d, results[i]); err != nil {
				return len(due), err
			}
		}
	}
	return len(due), nil
}

func (w *worker) failed(ctx context.Context, d db.DueDeliveriesRow, reason error) error {
	q, message := w.sender.q, reason.Error()
	if err := q.DeliveryFailed(ctx, db.DeliveryFailedParams{HookID: w.hook.ID, ID: d.ID, WaitSeconds: retryAfter(d.Attempts).Seconds()}); err != nil {
		return err
	}
	if err := q.HookFailed(ctx, db.HookFailedParams{ID: w.hook.ID, LastError: &message}); err != nil {
		return err
	}
	disabled, err := q.DisableHook(ctx, db.DisableHookParams{ID: w.hook.ID, AtOnce: errors.Is(reason, errGone)})
	if disabled > 0 {
		w.sender.log.Error("disabled a hook that accepts nothing", "hook", w.hook.ID, "host", w.hook.host(), "error", reason)
		w.stop()
	}
	return err
}

// retryAfter returns the delay of a message after this many failed attempts and another one.
func retryAfter(attempts int32) time.Duration {
	wait := firstRetry
	for range min(attempts, 10) {
		wait *= 3
	}
	return time.Duration(float64(min(wait, maxRetry)) * (0.8 + 0.4*rand.Float64())) // so that not all are sent at the same time
}
