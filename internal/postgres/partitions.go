package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// monthsAhead is how many months' partitions stand ready after the current one.
const monthsAhead = 2

// MakePartitions makes the events' partitions for the months of the given moments that have none.
func MakePartitions(ctx context.Context, conn db.DBTX, moments ...time.Time) error {
	done := map[time.Time]bool{}
	for _, at := range moments {
		at = at.UTC()
		month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if done[month] {
			continue
		}
		if err := db.New(conn).MakeEventsPartition(ctx, pgtype.Date{Time: month, Valid: true}); err != nil {
			return err
		}
		done[month] = true
	}
	return nil
}

// MakePartitionsAhead makes the events' partitions of the current month and the next ones.
func MakePartitionsAhead(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	var moments []time.Time
	for i := range monthsAhead + 1 {
		moments = append(moments, time.Date(now.Year(), now.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC))
	}
	return MakePartitions(ctx, pool, moments...)
}
