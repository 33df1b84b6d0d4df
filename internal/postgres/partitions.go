package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// monthsAhead is the number of months after the current one that have a partition in advance.
const monthsAhead = 2

// planTime is longer than making a plan takes.
const planTime = 200 * time.Millisecond

// MakePartitions creates the missing partitions of events for the months of the given times. conn is not in a transaction.
func MakePartitions(ctx context.Context, conn db.DBTX, moments ...time.Time) error {
	done := map[time.Time]bool{}
	q, made := db.New(conn), false
	for _, at := range moments {
		at = at.UTC()
		month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if done[month] {
			continue
		}
		created, err := q.MakePartitions(ctx, pgtype.Date{Time: month, Valid: true})
		if err != nil {
			return err
		}
		done[month], made = true, made || created
	}
	if !made {
		return nil
	}
	// Plans that were being made meanwhile do not know the partitions.
	if err := presence.Sleep(ctx, planTime); err != nil {
		return err
	}
	return q.RenewPlans(ctx)
}

// MakePartitionsAhead creates the missing partitions of events for the current month and the next ones.
func MakePartitionsAhead(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	var moments []time.Time
	for i := range monthsAhead + 1 {
		moments = append(moments, time.Date(now.Year(), now.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC))
	}
	return MakePartitions(ctx, pool, moments...)
}
