// Package retention deletes events and intervals that are older than the settings say. A month that no instance keeps is
// dropped as a whole; other rows are deleted in small batches, so that writers and readers hardly notice. Instances and
// contacts stay. Package app runs it regularly.
package retention

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	batchRows     = 5000
	batchContacts = 500
	cutTries      = 300
	cutWait       = 200 * time.Millisecond
	dropTries     = 3
	dropInterval  = 2 * time.Second
	// Dropping a month takes two locks in turn. Receivers wait for them, and give up after 2 s.
	dropLockWait = "800ms"
)

// Report is what Plan found or Run deleted.
type Report struct {
	Instances  []Instance `json:"instances"`
	Partitions []string   `json:"partitions"` // dropped months
}

// Instance is what is deleted from an instance.
type Instance struct {
	InstanceID    string     `json:"instanceId"`
	EventsFrom    *time.Time `json:"eventsFrom"` // older events are deleted; nil if all are kept
	Events        int64      `json:"events"`
	OldestEventAt *time.Time `json:"oldestEventAt"` // of the deleted events
	IntervalsFrom *time.Time `json:"intervalsFrom"`
	Intervals     int64      `json:"intervals"`
}

// Empty reports whether there is nothing to delete.
func (r Report) Empty() bool {
	events, intervals := r.Totals()
	return events == 0 && intervals == 0 && len(r.Partitions) == 0
}

// Totals adds up all instances.
func (r Report) Totals() (events, intervals int64) {
	for _, i := range r.Instances {
		events += i.Events
		intervals += i.Intervals
	}
	return events, intervals
}

// Plan returns what Run would delete now.
func Plan(ctx context.Context, pool *pgxpool.Pool, now time.Time) (Report, error) {
	w, err := begin(ctx, pool, now)
	if err == nil {
		err = w.plan(ctx)
	}
	return w.report, err
}

// Run deletes what Plan returns, and reports what it deleted, even if it fails half way: the next run continues. It returns
// postgres.ErrBusy if another process runs it.
func Run(ctx context.Context, pool *pgxpool.Pool, now time.Time) (Report, error) {
	var w *worker
	err := postgres.Maintain(ctx, pool, func() (err error) {
		if w, err = begin(ctx, pool, now); err != nil {
			return err
		}
		return w.run(ctx)
	})
	if w == nil {
		return Report{}, err
	}
	return w.report, err
}

type worker struct {
	pool       *pgxpool.Pool
	q          *db.Queries
	now        time.Time
	horizons   []db.HorizonsRow // of the report's instances, in its order
	partitions []db.ListPartitionsRow
	report     Report

	oldEvents, oldIntervals map[int32]bool // the instances that have some before their horizon
}

func begin(ctx context.Context, pool *pgxpool.Pool, now time.Time) (*worker, error) {
	w := &worker{pool: pool, q: db.New(pool), now: now, report: Report{Instances: []Instance{}, Partitions: []string{}}}
	var err error
	if w.horizons, err = w.q.Horizons(ctx, postgres.Time(now)); err != nil {
		return w, err
	}
	for _, h := range w.horizons {
		w.report.Instances = append(w.report.Instances, Instance{
			InstanceID: h.Name, EventsFrom: postgres.TimeOrNil(h.EventsFrom), IntervalsFrom: postgres.TimeOrNil(h.IntervalsFrom),
		})
	}
	w.partitions, err = w.q.ListPartitions(ctx)
	return w, err
}

// allAgree reports whether no instance keeps events of a partition.
func allAgree(horizons []db.HorizonsRow, p db.ListPartitionsRow) bool {
	keeps := func(h db.HorizonsRow) bool { return !h.EventsFrom.Valid || h.EventsFrom.Time.Before(p.EndsAt.Time) }
	return len(horizons) > 0 && !slices.ContainsFunc(horizons, keeps)
}

func (w *worker) plan(ctx context.Context) error {
	for i, h := range w.horizons {
		if h.IntervalsFrom.Valid {
			var err error
			w.report.Instances[i].Intervals, err = w.q.CountIntervalsBefore(ctx, db.CountIntervalsBeforeParams{
				InstanceID: h.InstanceID, Before: h.IntervalsFrom,
			})
			if err != nil {
				return err
			}
		}
	}
	for _, p := range w.partitions {
		counts, err := w.count(ctx, p)
		if err != nil {
			return err
		}
		w.add(counts...)
		if allAgree(w.horizons, p) {
			w.report.Partitions = append(w.report.Partitions, p.Partition)
		}
	}
	return nil
}

// count counts the events of a partition that are too old.
func (w *worker) count(ctx context.Context, p db.ListPartitionsRow) ([]db.CountEventsBeforeRow, error) {
	var ids []int32
	var horizons []pgtype.Timestamptz
	last := p.StartsAt.Time
	for _, h := range w.horizons {
		if h.EventsFrom.Valid && h.EventsFrom.Time.After(p.StartsAt.Time) {
			ids, horizons = append(ids, h.InstanceID), append(horizons, h.EventsFrom)
			last = presence.Later(last, h.EventsFrom.Time)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return w.q.CountEventsBefore(ctx, db.CountEventsBeforeParams{
		InstanceIds: ids, Horizons: horizons, RangeStart: p.StartsAt, RangeEnd: postgres.Time(presence.Earlier(last, p.EndsAt.Time)),
	})
}

func (w *worker) add(counts ...db.CountEventsBeforeRow) {
	for _, c := range counts {
		of := &w.report.Instances[slices.IndexFunc(w.horizons, func(h db.HorizonsRow) bool { return h.InstanceID == c.InstanceID })]
		of.Events += c.Events
		if at := postgres.TimeOrNil(c.OldestAt); at != nil && (of.OldestEventAt == nil || at.Before(*of.OldestEventAt)) {
			of.OldestEventAt = at
		}
	}
}

func (w *worker) run(ctx context.Context) error {
	if err := w.findOld(ctx); err != nil {
		return err
	}
	if err := w.cut(ctx); err != nil { // before any interval is deleted: it looks for those that contain the horizon
		return err
	}
	for i, h := range w.horizons {
		if !w.oldIntervals[h.InstanceID] {
			continue
		}
		err := inBatches(ctx, func() (int64, error) {
			n, err := w.q.DeleteIntervals(ctx, db.DeleteIntervalsParams{
				InstanceID: h.InstanceID, Before: h.IntervalsFrom, MaxRows: batchRows,
			})
			w.report.Instances[i].Intervals += n
			return n, err
		})
		if err != nil {
			return fmt.Errorf("deleting intervals of %s: %w", h.Name, err)
		}
		if err := w.q.DeleteEmptySums(ctx, h.InstanceID); err != nil {
			return err
		}
	}
	var inUse error
	for _, p := range w.partitions {
		if !allAgree(w.horizons, p) {
			if err := w.deleteEvents(ctx, p); err != nil {
				return fmt.Errorf("deleting events of %s: %w", p.Partition, err)
			}
			continue
		}
		if inUse != nil { // it would be in use too
			continue
		}
		counts, err := w.count(ctx, p)
		if err != nil {
			return err
		}
		dropped, err := w.drop(ctx, p)
		switch {
		case isInUse(err):
			inUse = fmt.Errorf("events are in use; the next run drops %s: %w", p.Partition, err)
		case err != nil:
			return fmt.Errorf("dropping %s: %w", p.Partition, err)
		case dropped:
			w.add(counts...)
			w.report.Partitions = append(w.report.Partitions, p.Partition)
		}
	}
	return inUse
}

// findOld finds the instances with something to delete. Nothing is done for others, which may be many.
func (w *worker) findOld(ctx context.Context) error {
	w.oldEvents, w.oldIntervals = map[int32]bool{}, map[int32]bool{}
	var events db.InstancesWithOldEventsParams
	var kept db.InstancesWithOldIntervalsParams
	for _, h := range w.horizons {
		if h.EventsFrom.Valid {
			events.InstanceIds, events.Horizons = append(events.InstanceIds, h.InstanceID), append(events.Horizons, h.EventsFrom)
		}
		if h.IntervalsFrom.Valid {
			kept.InstanceIds, kept.Horizons = append(kept.InstanceIds, h.InstanceID), append(kept.Horizons, h.IntervalsFrom)
		}
	}
	if len(events.InstanceIds) > 0 {
		old, err := w.q.InstancesWithOldEvents(ctx, events)
		if err != nil {
			return err
		}
		for _, id := range old {
			w.oldEvents[id] = true
		}
	}
	if len(kept.InstanceIds) > 0 {
		old, err := w.q.InstancesWithOldIntervals(ctx, kept)
		if err != nil {
			return err
		}
		for _, id := range old {
			w.oldIntervals[id] = true
		}
	}
	return nil
}

// cut prepares the intervals for the deletion of events, once all intervals are stored that follow from these.
func (w *worker) cut(ctx context.Context) error {
	for _, h := range w.horizons {
		if !w.oldEvents[h.InstanceID] {
			continue
		}
		if err := w.cutInstance(ctx, h); err != nil {
			return fmt.Errorf("cutting intervals of %s: %w", h.Name, err)
		}
	}
	return nil
}

func (w *worker) cutInstance(ctx context.Context, h db.HorizonsRow) error {
	for range cutTries {
		cut, err := w.q.CutIntervals(ctx, db.CutIntervalsParams{InstanceID: h.InstanceID, Horizon: h.EventsFrom, Now: postgres.Time(w.now)})
		if err != nil || cut {
			return err
		}
		// It returns at once if another process refreshes.
		if err := intervals.Refresh(ctx, w.pool, func() time.Time { return w.now }, 1); err != nil {
			return err
		}
		if err := presence.Sleep(ctx, cutWait); err != nil {
			return err
		}
	}
	return intervals.ErrBusy
}

// drop drops a whole month. For a moment, it locks the whole table events.
func (w *worker) drop(ctx context.Context, p db.ListPartitionsRow) (dropped bool, err error) {
	for try := range dropTries {
		if try > 0 {
			if err := presence.Sleep(ctx, dropInterval); err != nil {
				return false, err
			}
		}
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			q := db.New(tx)
			if err := q.LimitLockWait(ctx, dropLockWait); err != nil {
				return err
			}
			if err := q.LockEvents(ctx); err != nil {
				return err
			}
			// A setting may have changed, or there may be a new instance that keeps it.
			horizons, err := q.Horizons(ctx, postgres.Time(w.now))
			if err != nil || !allAgree(horizons, p) {
				return err
			}
			_, err = tx.Exec(ctx, p.DropStatement)
			dropped = err == nil
			return err
		})
		if !isInUse(err) {
			break
		}
	}
	return dropped && err == nil, err
}

// isInUse reports whether an error says that a lock was not available.
func isInUse(err error) bool {
	code := postgres.ErrorCode(err)
	return code == pgerrcode.LockNotAvailable || code == pgerrcode.DeadlockDetected
}

// deleteEvents deletes old events from a partition that is kept in part.
func (w *worker) deleteEvents(ctx context.Context, p db.ListPartitionsRow) error {
	for _, h := range w.horizons {
		if !w.oldEvents[h.InstanceID] || !h.EventsFrom.Time.After(p.StartsAt.Time) {
			continue
		}
		until := postgres.Time(presence.Earlier(h.EventsFrom.Time, p.EndsAt.Time))
		contacts, err := w.q.InstanceContacts(ctx, h.InstanceID)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(contacts, batchContacts) {
			err := inBatches(ctx, func() (int64, error) {
				gone, err := w.q.DeleteEvents(ctx, db.DeleteEventsParams{
					ContactIds: some, RangeStart: p.StartsAt, RangeEnd: until, MaxRows: batchRows,
				})
				w.add(db.CountEventsBeforeRow{InstanceID: h.InstanceID, Events: gone.Events, OldestAt: gone.OldestAt})
				return gone.Events, err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// inBatches calls batch until there is nothing left to delete. It rests after each call as long as that took.
func inBatches(ctx context.Context, batch func() (int64, error)) error {
	for {
		started := time.Now()
		n, err := batch()
		if err != nil {
			return err
		}
		if err := presence.Sleep(ctx, time.Since(started)); err != nil || n < batchRows {
			return err
		}
	}
}
