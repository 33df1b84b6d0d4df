package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// PackPast packs the partitions of months that are over, in one process at a time; others return at once.
func PackPast(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		locked, err := db.New(tx).TryUpkeepLock(ctx)
		if err != nil || !locked {
			return err
		}
		return pack(ctx, pool, now.UTC().Format("events_2006_01")) // on another connection: it cannot be in a transaction
	})
}

// Pack packs all partitions that are worth it, as after a large import.
func Pack(ctx context.Context, pool *pgxpool.Pool) error {
	return pack(ctx, pool, "events_9999_99")
}

// pack builds the keys of loose partitions anew, without holding up who reads or writes there, and lets later reads do
// with the key alone.
func pack(ctx context.Context, conn db.DBTX, before string) error {
	q := db.New(conn)
	if err := q.AnalyzeEvents(ctx); err != nil {
		return fmt.Errorf("analysing events: %w", err)
	}
	loose, err := q.LoosePartitions(ctx, before)
	if err != nil {
		return err
	}
	for _, p := range loose {
		for _, statement := range []string{p.ReindexStatement, p.VacuumStatement} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("packing %s: %w", p.Partition, err)
			}
		}
	}
	return nil
}
