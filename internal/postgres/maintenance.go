package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// ErrBusy says that another process is maintaining the database.
var ErrBusy = errors.New("another process is maintaining the database; try again later")

// Maintain calls do, which uses other connections, under a lock against other processes. If one has the lock, it returns
// ErrBusy.
func Maintain(ctx context.Context, pool *pgxpool.Pool, do func() error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := db.New(tx).TryMaintenanceLock(ctx); errors.Is(err, pgx.ErrNoRows) {
			return ErrBusy
		} else if err != nil {
			return err
		}
		// A second statement releases the snapshot of the first one. With a snapshot, VACUUM could not remove rows deleted
		// later, and REINDEX CONCURRENTLY would wait for this transaction, and so for itself.
		if _, err := tx.Exec(ctx, "SELECT"); err != nil {
			return err
		}
		return do()
	})
}

// AwaitOlder waits, at most for most, until no transaction that began before now holds these locks. It reports whether that is
// so.
func AwaitOlder(ctx context.Context, q *db.Queries, locks db.OlderLocksParams, most time.Duration) (released bool, err error) {
	if locks.Moment, err = q.Clock(ctx); err != nil {
		return false, err
	}
	for deadline := time.Now().Add(most); ; {
		n, err := q.OlderLocks(ctx, locks)
		if err != nil || n == 0 || time.Now().After(deadline) {
			return n == 0, err
		}
		if err := presence.Sleep(ctx, 10*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// ReindexPast rebuilds the keys of bloated partitions of past months. If another process does so, it returns ErrBusy.
func ReindexPast(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	return Maintain(ctx, pool, func() error { return reindex(ctx, pool, now.UTC().Format("2006_01")) })
}

// CompleteTimeIndexes adds the events and intervals of the last seconds to the indexes by time. It does nothing while VACUUM
// runs there, which does the same.
func CompleteTimeIndexes(ctx context.Context, pool *pgxpool.Pool) error {
	err := db.New(pool).CompleteTimeIndexes(ctx)
	if ErrorCode(err) == pgerrcode.LockNotAvailable {
		return nil
	}
	return err
}

// Reindex rebuilds the keys of all bloated partitions, as after a large import.
func Reindex(ctx context.Context, pool *pgxpool.Pool) error {
	return reindex(ctx, pool, "9999_99")
}

// reindex rebuilds the keys of bloated partitions without blocking readers or writers, and marks their pages as all-visible, so that
// later reads need only the key.
func reindex(ctx context.Context, conn db.DBTX, before string) error {
	q := db.New(conn)
	leftover, err := q.LeftoverIndexes(ctx)
	if err != nil {
		return err
	}
	for _, statement := range leftover {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("dropping indexes left by an interrupted REINDEX: %w", err)
		}
	}
	if err := q.Analyze(ctx); err != nil {
		return fmt.Errorf("analysing tables: %w", err)
	}
	bloated, err := q.BloatedPartitions(ctx, before)
	if err != nil {
		return err
	}
	for _, p := range bloated {
		for _, statement := range []string{p.ReindexStatement, p.VacuumStatement} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("reindexing %s: %w", p.Partition, err)
			}
		}
	}
	return nil
}
