// Package postgres connects to the database and keeps its schema: pools, migrations and the events' partitions.
// What is asked of the tables is not here but in queries/.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Connect opens a pool of at most maxConns connections for one purpose, named in pg_stat_activity as
// "presencelog <purpose>". It does not need the database to be there: the first query does.
func Connect(ctx context.Context, connString, purpose string, maxConns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("the database's address (DATABASE_URL): %w", err)
	}
	config.MaxConns = maxConns
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = "presencelog " + purpose
	params["timezone"] = "UTC"
	if behindPooler(ctx, config.ConnConfig) {
		// A pooler that hands out a connection for each transaction knows neither settings nor prepared statements of ours.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	} else {
		maps.Copy(params, settings)
	}
	return pgxpool.NewWithConfig(ctx, config)
}

var settings = map[string]string{
	// 200 means durable, whatever the role's or the server's default is.
	"synchronous_commit": "on",
	// Compiling costs these queries a hundred times what it saves.
	"jit": "off",
	// Planning a query over all partitions costs more than running it; every plan here prunes as it runs.
	"plan_cache_mode": "force_generic_plan",
}

// behindPooler tries whether settings are refused, as PgBouncer does.
func behindPooler(ctx context.Context, config *pgx.ConnConfig) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	probe := config.Copy()
	maps.Copy(probe.RuntimeParams, settings)
	conn, err := pgx.ConnectConfig(ctx, probe)
	if err == nil {
		conn.Close(ctx)
		return false
	}
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "08P01" // protocol_violation
}

// pooled says that a pool leads to a pooler instead of the server itself.
func pooled(pool *pgxpool.Pool) bool {
	return pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheDescribe
}

// IsAway says of an error that the server could not be reached or is not ready, so that it may pass by itself.
func IsAway(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code[:2] {
		case "08", "53", "57": // connection, insufficient resources, operator intervention
			return true
		}
		return refused.Code == "25006" // read_only_sql_transaction: a standby
	}
	var unreachable *pgconn.ConnectError
	return errors.As(err, &unreachable) || errors.Is(err, context.DeadlineExceeded)
}
