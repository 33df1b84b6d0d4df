package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/postgres"
)

const dropTimeout = 2 * time.Minute // for all databases; each drop makes PostgreSQL write all pages

// server is the PostgreSQL on which each server under test gets its own database.
type server struct {
	conn string // connection string
	pool *pgxpool.Pool

	inspect *pgx.Conn // to the database with pg_walinspect; nil if there is none
	made    []string
}

func openServer(ctx context.Context, conn string) (*server, error) {
	pool, err := postgres.Connect(ctx, conn, "bench", 2)
	if err != nil {
		return nil, err
	}
	return &server{conn: conn, pool: pool}, nil
}

// create creates a database and returns its connection string. close drops it.
func (s *server) create(ctx context.Context, purpose string) (string, error) {
	name := fmt.Sprintf("presencelog_bench_%s_%08x", purpose, rand.Uint32())
	if _, err := s.pool.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("create a database for the bench: %w", err)
	}
	s.made = append(s.made, name)
	return postgres.InDatabase(s.conn, name), nil
}

// close drops the databases of create.
func (s *server) close() error {
	defer s.pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	var errs []error
	if s.inspect != nil {
		errs = append(errs, s.inspect.Close(ctx))
	}
	for _, name := range s.made {
		_, err := s.pool.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkpoint makes PostgreSQL write all pages before a run. Without the permission it does nothing.
func (s *server) checkpoint(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "CHECKPOINT")
	if postgres.ErrorCode(err) == pgerrcode.InsufficientPrivilege {
		return nil
	}
	return err
}

// walPosition returns the end of the WAL, in bytes.
func (s *server) walPosition(ctx context.Context) (lsn string, err error) {
	err = s.pool.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&lsn)
	return lsn, err
}

// walSince returns the bytes of WAL since a position. It excludes full page images if inspectWAL succeeded and the WAL still
// exists.
func (s *server) walSince(ctx context.Context, from string) (bytes int64, err error) {
	to, err := s.walPosition(ctx)
	if err != nil {
		return 0, err
	}
	err = s.pool.QueryRow(ctx, "SELECT pg_wal_lsn_diff($2::text::pg_lsn, $1::text::pg_lsn)::bigint", from, to).Scan(&bytes)
	if err != nil || s.inspect == nil || from == to {
		return bytes, err
	}
	var images int64
	err = s.inspect.QueryRow(ctx,
		"SELECT coalesce(sum(fpi_size), 0)::bigint FROM pg_get_wal_stats($1::text::pg_lsn, $2::text::pg_lsn)", from, to).Scan(&images)
	if postgres.ErrorCode(err) == pgerrcode.UndefinedFile { // a checkpoint has removed it
		return bytes, nil
	}
	return bytes - images, err
}

// inspectWAL lets walSince exclude full page images. It needs an extension of PostgreSQL 15 and later, and a role that may use
// it.
func (s *server) inspectWAL(ctx context.Context) error {
	conn, err := s.create(ctx, "wal")
	if err != nil {
		return err
	}
	inspect, err := pgx.Connect(ctx, conn)
	if err != nil {
		return err
	}
	_, err = inspect.Exec(ctx, "CREATE EXTENSION pg_walinspect")
	if postgres.ErrorCode(err) != "" {
		return inspect.Close(ctx)
	}
	s.inspect = inspect
	return err
}

// prefill stores n events of the service's contacts. They are spread over the current month up to now, in order of time: so
// table and index look like after a month of service, and all events are in the partition of new events.
func prefill(ctx context.Context, conn string, n int64, progress func(string)) error {
	db, err := pgx.Connect(ctx, conn)
	if err != nil {
		return err
	}
	defer db.Close(context.Background())
	now := time.Now().UTC().Truncate(time.Microsecond)
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	step := now.Sub(month).Seconds() / float64(n)
	const chunk = 500_000
	for first := int64(0); first < n; first += chunk {
		progress(fmt.Sprintf("prefilling: %d of %d events", first, n))
		_, err := db.Exec(ctx, `
WITH all_contacts AS (SELECT array_agg(id) AS ids FROM contacts)
INSERT INTO events (contact_id, received_at, seq, status)
SELECT
    (SELECT ids FROM all_contacts)[1 + floor(random() * (SELECT cardinality(ids) FROM all_contacts))::int],
    $1::timestamptz + i * $2::float8 * interval '1 second', 0, 1 + floor(random() * 5)::smallint
FROM generate_series($3::bigint, $4::bigint) AS i`, month, step, first, min(first+chunk, n)-1)
		if err != nil {
			return fmt.Errorf("prefill: %w", err)
		}
	}
	_, err = db.Exec(ctx, "VACUUM ANALYZE events")
	return err
}
