// Package postgres connects to the database and manages its schema: pools, migrations, partitions, maintenance. Other packages
// query through its pools, with the code that sqlc generates from queries/.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// Connect opens a pool of at most maxConns connections. Its application_name is "presencelog <purpose>". The database need not
// be reachable yet.
func Connect(ctx context.Context, connString, purpose string, maxConns int32) (*pgxpool.Pool, error) {
	return connect(ctx, connString, purpose, maxConns, false)
}

// Reserve opens a pool like Connect that keeps all its connections open, so that others cannot use up the server's connections.
func Reserve(ctx context.Context, connString, purpose string, conns int32) (*pgxpool.Pool, error) {
	return connect(ctx, connString, purpose, conns, true)
}

func connect(ctx context.Context, connString, purpose string, maxConns int32, reserve bool) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("the database's address (DATABASE_URL): %w", err)
	}
	config.MaxConns = maxConns
	if reserve {
		config.MinConns = maxConns
		config.MaxConnLifetime = 365 * 24 * time.Hour // others may use up a closed connection
	}
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = "presencelog " + purpose
	params["timezone"] = "UTC"
	config.BeforeConnect = adapt()
	return pgxpool.NewWithConfig(ctx, config)
}

// adapt returns a function that configures each connection for PostgreSQL or for a transaction pooler, behind which neither
// session settings nor prepared statements work. The first connection that reaches the database detects which it is.
func adapt() func(context.Context, *pgx.ConnConfig) error {
	var pooled atomic.Pointer[bool]
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		if pooled.Load() == nil {
			is, err := behindPooler(ctx, config)
			if err != nil {
				return err
			}
			pooled.Store(&is)
		}
		if *pooled.Load() {
			config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		} else {
			maps.Copy(config.RuntimeParams, settings)
		}
		return nil
	}
}

// Open opens a connection like those of a pool, but outside of it, for another purpose.
func Open(ctx context.Context, pool *pgxpool.Pool, purpose string) (*pgx.Conn, error) {
	config := pool.Config()
	if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "presencelog " + purpose
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}

// Ping checks whether the database can be reached. Its error names the server and the cause in one line.
func Ping(ctx context.Context, pool *pgxpool.Pool) error {
	err := pool.Ping(ctx)
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	server := failed.Config.Host
	if failed.Config.Port != 0 && !strings.HasPrefix(server, "/") {
		server = net.JoinHostPort(server, strconv.Itoa(int(failed.Config.Port)))
	}
	var why error
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		why = refused
	} else if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		why = unknown
	} else if op, ok := errors.AsType[*net.OpError](err); ok {
		why = op.Err
	} else {
		return err
	}
	return &unreachableError{server, why, err}
}

// unreachableError is a connect error of pgx in one line. pgx lists each attempt, with and without TLS, to each address.
type unreachableError struct {
	server     string
	why, whole error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("cannot connect to PostgreSQL at %s: %v", e.server, e.why)
}

func (e *unreachableError) Unwrap() error { return e.whole }

var settings = map[string]string{
	// A response of 200 means durable, regardless of the default of the role or the server.
	"synchronous_commit": "on",
	// For these queries, compiling costs a hundred times what it saves.
	"jit": "off",
	// Planning a query over all partitions costs more than running it. All plans prune partitions at run time.
	"plan_cache_mode": "force_generic_plan",
}

// behindPooler reports whether the server rejects settings, as PgBouncer does.
func behindPooler(ctx context.Context, config *pgx.ConnConfig) (bool, error) {
	probe := config.Copy()
	maps.Copy(probe.RuntimeParams, settings)
	conn, err := pgx.ConnectConfig(ctx, probe)
	if ErrorCode(err) == pgerrcode.ProtocolViolation {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, conn.Close(context.WithoutCancel(ctx))
}

// Pooled reports whether a connection is to a pooler.
func Pooled(conn *pgx.Conn) bool {
	return conn.Config().DefaultQueryExecMode == pgx.QueryExecModeCacheDescribe
}

// ErrorCode returns the SQLSTATE of an error of PostgreSQL, "" for others.
func ErrorCode(err error) string {
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok {
		return failed.Code
	}
	return ""
}

// ErrorClass returns the class of an error's SQLSTATE, its first two characters, "" for errors that are not PostgreSQL's.
func ErrorClass(err error) string {
	code := ErrorCode(err)
	return code[:min(2, len(code))]
}

// IsUnavailable reports whether the server cannot be reached, is not ready, is overloaded or ended the connection, so that a
// retry may succeed.
func IsUnavailable(err error) bool {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	switch ErrorClass(err) {
	case "": // not an error of PostgreSQL
	case "08", "53", "57": // connection exception, insufficient resources, operator intervention
		return true
	case "55": // object not in prerequisite state: the database accepts no connections
		return connecting
	default:
		return ErrorCode(err) == pgerrcode.ReadOnlySQLTransaction // a standby
	}
	_, lost := errors.AsType[*net.OpError](err)
	return connecting || lost || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err)
}

// CheckNew checks that a new connection can do maintenance. Open connections do not show that: if the server's programs are
// replaced while it runs, they still work, but new ones cannot load libraries.
func CheckNew(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := Open(ctx, pool, "check")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return db.New(conn).TryProcedures(ctx)
}

// InDatabase returns the connection string of another database of the same server.
func InDatabase(url, name string) string {
	if !strings.Contains(url, "://") {
		return url + " dbname=" + name // the last one wins
	}
	base, query, _ := strings.Cut(url, "?")
	if at := strings.LastIndex(base, "/"); at > len("postgres://") {
		base = base[:at]
	}
	return base + "/" + name + "?" + query
}
