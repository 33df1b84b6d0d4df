package ingest

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// pipeline is a db.DBTX that collects statements without results, to send them in one transaction and one round trip. Only Exec
// may be called.
type pipeline struct {
	db.DBTX
	pgx.Batch
}

func (p *pipeline) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	p.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

// send returns the number of rows that each statement affected.
func (p *pipeline) send(ctx context.Context, pool *pgxpool.Pool) (rows []int64, err error) {
	results := pool.SendBatch(ctx, &p.Batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for range p.Len() {
		tag, err := results.Exec()
		if err != nil {
			return rows, err
		}
		rows = append(rows, tag.RowsAffected())
	}
	return rows, nil
}
