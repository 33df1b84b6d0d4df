package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const connectionsInterval = time.Minute

// connect opens a pool with postgres.Connect, or with postgres.Reserve where events or health depend on it.
func (a *App) connect(
	ctx context.Context, open func(context.Context, string, string, int32) (*pgxpool.Pool, error),
	database, purpose string, conns int32,
) (*pgxpool.Pool, error) {
	pool, err := open(ctx, database, purpose, conns)
	if err == nil {
		a.onStop(pool.Close)
		a.meter.WatchPool(purpose, pool)
	}
	return pool, err
}

// watchConnections logs when PostgreSQL accepts fewer connections than the pools may still open, until ctx ends.
func (a *App) watchConnections(ctx context.Context, ask *pgxpool.Pool, pools ...*pgxpool.Pool) {
	for ctx.Err() == nil {
		needed := int32(1) // the one that listens
		for _, pool := range pools {
			needed += pool.Config().MaxConns - pool.Stat().TotalConns()
		}
		_ = ask.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			if postgres.Pooled(conn.Conn()) { // what a pooler accepts cannot be seen
				return nil
			}
			left, err := db.New(conn).ConnectionsLeft(ctx)
			if err == nil && left < needed {
				a.log.Warn("PostgreSQL has too few free connections: raise max_connections, or limit those of other roles",
					"left", left, "needed", needed)
			}
			return err
		})
		_ = presence.Sleep(ctx, connectionsInterval)
	}
}
