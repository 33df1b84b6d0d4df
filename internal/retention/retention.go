// Package retention deletes what is older than the settings say. A month that no instance keeps is dropped whole; other
// events, rollups and quarantined callbacks go in small batches, so that who writes and reads meanwhile hardly notices.
// Instances and contacts stay.
package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

const (
	batchRows     = 5000
	batchContacts = 500
	dropTries     = 3
	dropPause     = 2 * time.Second
	// Dropping a month takes two locks one after the other, and receivers, who give up after 2 s, wait behind it.
	dropLockWait = "800ms"
)

// ErrBusy says that another process is at it, or at other upkeep.
var ErrBusy = errors.New("another process is doing the database's upkeep; try again later")

// Report is what goes: what Plan found or Run deleted.
type Report struct {
	Instances  []Instance `json:"instances"`
	Partitions []string   `json:"partitions"` // months dropped whole
	Quarantine int64      `json:"quarantine"`
}

// Instance is what goes of an instance.
type Instance struct {
	InstanceID    string     `json:"instanceId"`
	EventsFrom    *time.Time `json:"eventsFrom"` // older ones go; nil if all are kept
	Events        int64      `json:"events"`
	OldestEventAt *time.Time `json:"oldestEventAt"` // of those that go
	RollupsFrom   *time.Time `json:"rollupsFrom"`
	Rollups       int64      `json:"rollups"`
}

// Empty says that nothing goes.
func (r Report) Empty() bool {
	events, rollups := r.Totals()
	return events == 0 && rollups == 0 && len(r.Partitions) == 0 && r.Quarantine == 0
}

// Totals adds up what goes of all instances.
func (r Report) Totals() (events, rollups int64) {
	for _, i := range r.Instances {
		events += i.Events
		rollups += i.Rollups
	}
	return events, rollups
}

// Plan tells what Run would delete now.
func Plan(ctx context.Context, pool *pgxpool.Pool, now time.Time) (Report, error) {
	w, err := begin(ctx, pool, now)
	if err == nil {
		err = w.plan(ctx)
	}
	return w.report, err
}

// Run deletes what is older than the settings say, and reports what went, also when it fails half way: the next run goes
// on from there. It returns ErrBusy while it runs elsewhere.
func Run(ctx context.Context, pool *pgxpool.Pool, now time.Time) (Report, error) {
	var w *worker
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		locked, err := db.New(tx).TryUpkeepLock(ctx)
		if err != nil {
			return err
		}
		if !locked {
			return ErrBusy
		}
		if w, err = begin(ctx, pool, now); err != nil { // on other connections
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
	quarantine pgtype.Timestamptz
	report     Report
}

func begin(ctx context.Context, pool *pgxpool.Pool, now time.Time) (*worker, error) {
	w := &worker{pool: pool, q: db.New(pool), now: now, report: Report{Instances: []Instance{}, Partitions: []string{}}}
	var err error
	if w.horizons, err = w.q.Horizons(ctx, db.Time(now)); err != nil {
		return w, err
	}
	for _, h := range w.horizons {
		w.report.Instances = append(w.report.Instances, Instance{
			InstanceID: h.Name, EventsFrom: db.TimeOrNil(h.EventsFrom), RollupsFrom: db.TimeOrNil(h.RollupsFrom),
		})
	}
	if w.quarantine, err = w.q.QuarantineHorizon(ctx, db.Time(now)); err != nil {
		return w, err
	}
	w.partitions, err = w.q.ListPartitions(ctx)
	return w, err
}

// allAgree says that no instance keeps anything of a partition.
func allAgree(horizons []db.HorizonsRow, p db.ListPartitionsRow) bool {
	keeps := func(h db.HorizonsRow) bool { return !h.EventsFrom.Valid || h.EventsFrom.Time.Before(p.EndsAt.Time) }
	return len(horizons) > 0 && !slices.ContainsFunc(horizons, keeps)
}

func (w *worker) plan(ctx context.Context) error {
	for i, h := range w.horizons {
		if h.RollupsFrom.Valid {
			var err error
			if w.report.Instances[i].Rollups, err = w.q.CountRollupsBefore(ctx, h.InstanceID, h.RollupsFrom); err != nil {
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
	if !w.quarantine.Valid {
		return nil
	}
	var err error
	w.report.Quarantine, err = w.q.CountQuarantineBefore(ctx, w.quarantine)
	return err
}

// count counts the events of a partition that are too old.
func (w *worker) count(ctx context.Context, p db.ListPartitionsRow) ([]db.CountEventsBeforeRow, error) {
	var ids []int32
	var horizons []pgtype.Timestamptz
	last := p.StartsAt
	for _, h := range w.horizons {
		if h.EventsFrom.Valid && h.EventsFrom.Time.After(p.StartsAt.Time) {
			ids, horizons = append(ids, h.InstanceID), append(horizons, h.EventsFrom)
			if h.EventsFrom.Time.After(last.Time) {
				last = h.EventsFrom
			}
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return w.q.CountEventsBefore(ctx, ids, horizons, p.StartsAt, earlier(last, p.EndsAt))
}

func (w *worker) add(counts ...db.CountEventsBeforeRow) {
	for _, c := range counts {
		of := &w.report.Instances[slices.IndexFunc(w.horizons, func(h db.HorizonsRow) bool { return h.InstanceID == c.InstanceID })]
		of.Events += c.Events
		if at := db.TimeOrNil(c.OldestAt); at != nil && (of.OldestEventAt == nil || at.Before(*of.OldestEventAt)) {
			of.OldestEventAt = at
		}
	}
}

func (w *worker) run(ctx context.Context) error {
	for i, h := range w.horizons {
		if !h.RollupsFrom.Valid {
			continue
		}
		err := inBatches(ctx, func() (int64, error) {
			n, err := w.q.DeleteRollups(ctx, h.InstanceID, h.RollupsFrom, batchRows)
			w.report.Instances[i].Rollups += n
			return n, err
		})
		if err != nil {
			return fmt.Errorf("deleting rollups of %s: %w", h.Name, err)
		}
	}
	if err := w.cut(ctx); err != nil {
		return err
	}
	var inUse error
	for _, p := range w.partitions {
		if !allAgree(w.horizons, p) {
			if err := w.deleteEvents(ctx, p); err != nil {
				return fmt.Errorf("deleting events of %s: %w", p.Partition, err)
			}
			continue
		}
		if inUse != nil { // it would be in use as well
			continue
		}
		counts, err := w.count(ctx, p)
		if err != nil {
			return err
		}
		dropped, err := w.drop(ctx, p)
		switch {
		case isInUse(err):
			inUse = fmt.Errorf("events are in use, so %s is dropped the next time: %w", p.Partition, err)
		case err != nil:
			return fmt.Errorf("dropping %s: %w", p.Partition, err)
		case dropped:
			w.add(counts...)
			w.report.Partitions = append(w.report.Partitions, p.Partition)
		}
	}
	// Again, should something have been rolled up meanwhile of events that are gone now.
	if err := w.cut(ctx); err != nil {
		return err
	}
	if w.quarantine.Valid {
		err := inBatches(ctx, func() (int64, error) {
			n, err := w.q.DeleteQuarantine(ctx, w.quarantine, batchRows)
			w.report.Quarantine += n
			return n, err
		})
		if err != nil {
			return fmt.Errorf("deleting from the quarantine: %w", err)
		}
	}
	return inUse
}

// cut makes the rollups ready for the events before the horizons to go, and again for their being gone.
func (w *worker) cut(ctx context.Context) error {
	for _, h := range w.horizons {
		if !h.EventsFrom.Valid {
			continue
		}
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			q := db.New(tx)
			if err := q.ShareRollups(ctx); err != nil {
				return err
			}
			raised, err := q.RaiseEventsFrom(ctx, h.EventsFrom, h.InstanceID)
			if err != nil || raised == 0 {
				return err
			}
			if err := q.CutRollups(ctx, h.InstanceID, h.EventsFrom); err != nil {
				return err
			}
			return q.ForgetStale(ctx, h.InstanceID, h.EventsFrom)
		})
		if err != nil {
			return fmt.Errorf("cutting rollups of %s: %w", h.Name, err)
		}
	}
	return nil
}

// drop drops a whole month. It needs all of events for itself for a moment.
func (w *worker) drop(ctx context.Context, p db.ListPartitionsRow) (dropped bool, err error) {
	for try := range dropTries {
		if try > 0 {
			if err := rest(ctx, dropPause); err != nil {
				return false, err
			}
		}
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			q := db.New(tx)
			if err := q.BoundLockWait(ctx, dropLockWait); err != nil {
				return err
			}
			if err := q.LockEvents(ctx); err != nil {
				return err
			}
			// Somebody may have come to keep it after all, or an instance that does.
			horizons, err := q.Horizons(ctx, db.Time(w.now))
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

// isInUse says of an error that a lock could not be had.
func isInUse(err error) bool {
	var failed *pgconn.PgError
	return errors.As(err, &failed) && (failed.Code == "55P03" || failed.Code == "40P01") // lock_not_available, deadlock_detected
}

// deleteEvents deletes what is too old in a partition of which something is kept.
func (w *worker) deleteEvents(ctx context.Context, p db.ListPartitionsRow) error {
	for _, h := range w.horizons {
		if !h.EventsFrom.Valid || !h.EventsFrom.Time.After(p.StartsAt.Time) {
			continue
		}
		contacts, err := w.q.InstanceContacts(ctx, h.InstanceID)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(contacts, batchContacts) {
			err := inBatches(ctx, func() (int64, error) {
				gone, err := w.q.DeleteEvents(ctx, some, p.StartsAt, earlier(h.EventsFrom, p.EndsAt), batchRows)
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

// inBatches calls batch until it finds no more to delete, and rests as long as each call took.
func inBatches(ctx context.Context, batch func() (int64, error)) error {
	for {
		started := time.Now()
		n, err := batch()
		if err != nil {
			return err
		}
		if err := rest(ctx, time.Since(started)); err != nil || n < batchRows {
			return err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func earlier(a, b pgtype.Timestamptz) pgtype.Timestamptz {
	if a.Time.Before(b.Time) {
		return a
	}
	return b
}
