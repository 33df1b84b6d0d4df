// Package intervals keeps the table intervals current: typing, recording and visits that have ended, from which history
// queries. How it stays correct is described in migrations/00004_intervals.sql and 00005_refresh.sql. Results are complete whether or not this
// package has caught up: what is not stored is computed from the events.
package intervals

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	// Lag is how far the watermark stays behind now: nearly all events are committed by then. Later ones are late, which
	// costs a little more.
	Lag = 20 * time.Second

	targetStep    = 2 * time.Second // duration of a step: writers of late events of the same contacts wait for it
	targetRebuild = time.Minute     // the same, where somebody waits for the end: larger steps take less in sum
	writersWait   = 5 * time.Second
)

// stepSize adapts how much of history a step covers to how long steps take.
type stepSize struct {
	next, least time.Duration
	target      time.Duration // duration of a step
}

// A step of late events updates each contact in it, however few events that has; so it is not made too small.
func newStepSizes(target time.Duration) (onTime, late *stepSize) {
	const day = 24 * time.Hour
	return &stepSize{time.Minute, time.Second, target}, &stepSize{8 * day, 8 * day, target}
}

func (s *stepSize) adapt(took time.Duration) {
	const most = 10 * 365 * 24 * time.Hour
	switch {
	case took < s.target/4:
		s.next = min(4*s.next, most)
	case took > s.target:
		s.next = max(s.next/2, s.least)
	}
}

// ErrBusy says that transactions that began before may still write events. It passes by itself.
var ErrBusy = errors.New("transactions that may write earlier events are still running")

// Refresh stores the intervals that ended up to Lag ago, and replaces those of contacts with late events. Any number of
// processes may call it; one of them works, for the others there is nothing to do. After each step it rests for as long as
// that took, times rest.
func Refresh(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, rest float64) error {
	cutoff := postgres.Time(now().Add(-Lag))
	q := db.New(pool)
	if work, err := q.AdvanceCutoff(ctx, cutoff); err != nil || !work {
		return err
	}
	// Those that began before the cutoff was moved may hold events that they took for being in time.
	if err := AwaitWriters(ctx, q, writersWait); err != nil {
		return err
	}
	target := targetStep
	if rest == 0 {
		target = targetRebuild
	}
	onTime, late := newStepSizes(target)
	for {
		began := time.Now()
		did, used, err := step(ctx, pool, cutoff.Time, onTime, late)
		if err != nil || !did {
			return err
		}
		took := time.Since(began)
		used.adapt(took)
		if err := presence.Sleep(ctx, time.Duration(rest*float64(took))); err != nil {
			return err
		}
	}
}

// AwaitWriters waits for the transactions that write events and began before now, of which nobody sees the events yet. After a
// while it returns ErrBusy.
func AwaitWriters(ctx context.Context, q *db.Queries, most time.Duration) error {
	writers := db.OlderLocksParams{Tables: []string{"events"}, Mode: new("RowExclusiveLock")}
	if ended, err := postgres.AwaitOlder(ctx, q, writers, most); ended || err != nil {
		return err
	}
	return ErrBusy
}

// step moves the watermark towards the cutoff by a piece of history, or when it is there, the contacts with late events
// towards the watermark. It returns false if there is nothing to do or another process does it. The caller has awaited the
// writers of events up to the cutoff; another process may have moved it further, for which this one has not waited.
func step(ctx context.Context, pool *pgxpool.Pool, cutoff time.Time, onTime, late *stepSize) (did bool, used *stepSize, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		watermark, err := q.TryRefreshLock(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if watermark.Time.Before(cutoff) {
			until := cutoff
			if watermark.InfinityModifier == 0 && watermark.Time.Add(onTime.next).Before(cutoff) {
				until = watermark.Time.Add(onTime.next)
			}
			did, used = true, onTime
			return q.RefreshIntervals(ctx, postgres.Time(until))
		}
		used = late
		_, _, did, err = lateStep(ctx, q, watermark.Time, late.next)
		return err
	})
	if err != nil {
		return false, nil, fmt.Errorf("refreshing intervals: %w", err)
	}
	return did, used, nil
}

// lateStep moves the contacts with the oldest late events, from there until a time. It returns false if there are none.
func lateStep(ctx context.Context, q *db.Queries, watermark time.Time, size time.Duration) (from, until time.Time, did bool, err error) {
	first, err := q.FirstCheckpoint(ctx)
	if err != nil || !first.Valid {
		return from, until, false, err
	}
	until = presence.Earlier(first.Time.Add(size), watermark)
	n, err := q.RefreshLateIntervals(ctx, postgres.Time(until))
	return first.Time, until, n > 0, err // 0: the contacts are locked by writers of late events
}

// Rebuild replaces all intervals of instances, or with nil of all instances, within a transaction: until it commits,
// queries return what they did before. The refresh waits meanwhile, and so do writers of late events. progress, if not nil,
// is called with the duration of history that is done.
func Rebuild(ctx context.Context, tx pgx.Tx, instances []int32, progress func(done, all time.Duration)) error {
	q := db.New(tx)
	watermark, err := q.RefreshLock(ctx)
	if err != nil {
		return err
	}
	if err := q.MarkAllLate(ctx, instances); err != nil {
		return err
	}
	var start time.Time
	for _, size := newStepSizes(targetRebuild); ; {
		began := time.Now()
		from, until, did, err := lateStep(ctx, q, watermark.Time, size.next)
		if err != nil || !did { // contacts that are locked are not ours
			return err
		}
		if start.IsZero() {
			start = from
		}
		if progress != nil {
			progress(until.Sub(start), watermark.Time.Sub(start))
		}
		size.adapt(time.Since(began))
	}
}
