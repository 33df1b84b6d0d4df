package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// monthsAhead is the number of months after the current one that have a partition in advance.
const monthsAhead = 2

// maxPlanTime is longer than making a plan takes.
const maxPlanTime = 5 * time.Second

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
	return renewPlans(ctx, q)
}

// renewPlans invalidates plans of other connections, after waiting for those that are planning now: they may not know a new
// partition yet, and would keep such a plan. Long transactions have their plans by the end of the wait.
func renewPlans(ctx context.Context, q *db.Queries) error {
	_, err := AwaitOlder(ctx, q, db.OlderLocksParams{Tables: []string{"events", "intervals"}}, maxPlanTime)
	// Do it even if the caller has given up: the partitions exist, so there is no retry.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxPlanTime)
	defer cancel()
	return errors.Join(err, q.RenewPlans(ctx))
}

// MakePartitionsAhead creates the missing partitions of events for the current month and the next ones.
func MakePartitionsAhead(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	var moments []time.Time
	for i := range monthsAhead + 1 {
		moments = append(moments, time.Date(now.Year(), now.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC))
	}
	return MakePartitions(ctx, pool, moments...)
}
