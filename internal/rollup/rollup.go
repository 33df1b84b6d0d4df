// Package rollup keeps the rollups current: sums of stretches that have ended, from which questions about all contacts of
// an instance are answered. What they are and when they are stale is said in migrations/00004_rollups.sql; history reads
// them, and reads from the events what they lack, so it does not matter to answers when this package comes to its work.
package rollup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

const (
	lag         = time.Minute     // after which nearly all events have come; others are late, which costs a little more
	stepAim     = 4 * time.Second // how long a step may take: who writes late events waits for it
	rebuildAim  = time.Minute     // the same, when somebody waits for all of it: larger pieces take less in sum
	firstPiece  = time.Hour       // of time that a step rolls up; more or less, as long as steps take
	largest     = 32 * 24 * time.Hour
	smallest    = 15 * time.Minute
	writersWait = 5 * time.Second
)

// ErrBusy says that events may still come from transactions that began a while ago; it passes by itself.
var ErrBusy = errors.New("transactions of a while ago may still write events")

// Run rolls up what can be by now, newest first. Any number of processes may call it; one of them works. After each step it
// rests for as long as that took, times rest.
func Run(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, rest float64) error {
	return run(ctx, pool, now, rest, stepAim)
}

func run(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, rest float64, aim time.Duration) error {
	q := db.New(pool)
	if err := q.AdvanceRollups(ctx, db.Time(now().Add(-lag))); err != nil {
		return fmt.Errorf("advancing the rollups: %w", err)
	}
	if err := awaitWriters(ctx, q); err != nil {
		return err
	}
	for piece := firstPiece; ; {
		began := time.Now()
		did, err := Step(ctx, pool, now(), piece)
		if err != nil || !did {
			return err
		}
		took := time.Since(began)
		switch {
		case took < aim/4:
			piece = min(4*piece, largest)
		case took < aim/2:
			piece = min(2*piece, largest)
		case took > aim:
			piece = max(piece/2, smallest)
		}
		select {
		case <-time.After(time.Duration(rest * float64(took))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitWriters waits for the transactions that began before the rollups were advanced: they took their events for early
// enough, and nobody sees them yet.
func awaitWriters(ctx context.Context, q *db.Queries) error {
	advanced, err := q.Clock(ctx)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(writersWait); ; {
		n, err := q.EventWriters(ctx, advanced)
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return ErrBusy
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Step rolls up the newest piece of what is stale, at most so long. It returns false if there was nothing to do, or
// somebody else is doing it. The caller has awaited the writers.
func Step(ctx context.Context, pool *pgxpool.Pool, now time.Time, atMost time.Duration) (did bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if locked, err := q.TryRollupLock(ctx); err != nil || !locked {
			return err
		}
		if err := q.LockRollups(ctx); err != nil {
			return err
		}
		stale, err := q.NextStale(ctx, pgtype.Interval{Microseconds: atMost.Microseconds(), Valid: true})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		did = true
		return q.RollUp(ctx, stale.InstanceID, stale.FromSlot, stale.UntilSlot, db.Time(now))
	})
	if err != nil {
		return false, fmt.Errorf("rolling up: %w", err)
	}
	return did, nil
}

// Rebuild makes all rollups anew from the events. progress is told from time to time how much of it is done: time of
// history, summed over the instances.
func Rebuild(ctx context.Context, pool *pgxpool.Pool, now func() time.Time, progress func(done, all time.Duration)) error {
	q := db.New(pool)
	if err := q.AdvanceRollups(ctx, db.Time(now().Add(-lag))); err != nil {
		return err
	}
	if err := q.MarkAllStale(ctx, nil); err != nil {
		return err
	}
	all, err := q.StaleMicros(ctx)
	if err != nil {
		return err
	}
	for left := all; left > 0; { // another process may be at it: then this one waits
		worked := make(chan error, 1)
		go func() { worked <- run(ctx, pool, now, 0, rebuildAim) }()
		for running := true; running; {
			select {
			case err := <-worked:
				if err != nil && !errors.Is(err, ErrBusy) {
					return err
				}
				running = false
			case <-time.After(100 * time.Millisecond):
			}
			if left, err = q.StaleMicros(ctx); err != nil {
				return err
			}
			progress(micros(all-left), micros(all))
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func micros(n int64) time.Duration { return time.Duration(max(n, 0)) * time.Microsecond }
