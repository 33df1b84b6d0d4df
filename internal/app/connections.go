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

type pools struct{ write, read, live, check *pgxpool.Pool }

func (a *App) openPools(ctx context.Context, database string) (err error) {
	if a.pools.write, err = a.connect(ctx, postgres.Reserve, database, "writer", writeConns); err != nil {
		return err
	}
	if a.pools.read, err = a.connect(ctx, postgres.Connect, database, "reader", readConns); err != nil {
		return err
	}
	if a.pools.live, err = a.connect(ctx, postgres.Connect, database, "feed", liveConns); err != nil {
		return err
	}
	a.pools.check, err = a.connect(ctx, postgres.Reserve, database, "check", checkConns)
	return err
}

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
func (a *App) watchConnections(ctx context.Context) {
	for ctx.Err() == nil {
		needed := int32(1) // the one that listens
		for _, pool := range []*pgxpool.Pool{a.pools.write, a.pools.read, a.pools.live, a.pools.check} {
			needed += pool.Config().MaxConns - pool.Stat().TotalConns()
		}
		_ = a.pools.check.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
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
