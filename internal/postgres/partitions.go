package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// monthsAhead is the number of months after the current one that have a partition in advance.
const monthsAhead = 2

// MakePartitions creates the missing partitions of events for the months of the given times.
func MakePartitions(ctx context.Context, conn db.DBTX, moments ...time.Time) error {
	done := map[time.Time]bool{}
	for _, at := range moments {
		at = at.UTC()
		month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if done[month] {
			continue
		}
		if err := db.New(conn).MakePartitions(ctx, pgtype.Date{Time: month, Valid: true}); err != nil {
			return err
		}
		done[month] = true
	}
	return nil
}

// MakePartitionsAhead creates the missing partitions of events for the current month and the next ones.
func MakePartitionsAhead(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	var moments []time.Time
	for i := range monthsAhead + 1 {
		moments = append(moments, time.Date(now.Year(), now.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC))
	}
	return MakePartitions(ctx, pool, moments...)
}
