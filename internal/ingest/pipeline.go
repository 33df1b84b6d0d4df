package ingest

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pipeline is a db.DBTX that collects statements without results, to send them in one transaction and one round trip.
type pipeline struct{ pgx.Batch }

var errPipeline = errors.New("a pipeline has no results")

func (p *pipeline) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	p.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

func (*pipeline) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errPipeline }

func (*pipeline) QueryRow(context.Context, string, ...any) pgx.Row { panic(errPipeline) }

func (*pipeline) CopyFrom(context.Context, pgx.Identifier, []string, pgx.CopyFromSource) (int64, error) {
	return 0, errPipeline
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
