// Package pgtest gives every test its own migrated database on a real PostgreSQL: an embedded one, started once per test
// binary, or the server that TEST_DATABASE_URL names. It also has the seeds of random tests and other helpers.
package pgtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
	"github.com/presencelog/presencelog/migrations"
)

var server struct {
	sync.Once
	dir      string
	embedded *embedded.Server
	url      string
	template string
	err      error
}

// Main runs a package's tests and stops the server that New started: func TestMain(m) { os.Exit(pgtest.Main(m)) }.
func Main(m *testing.M) int {
	code := m.Run()
	if server.embedded != nil {
		// This does not fail the tests: on a busy machine, the server may stop slowly. Package embedded tests Close.
		if err := server.embedded.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
		}
	}
	if server.dir != "" {
		os.RemoveAll(server.dir)
	}
	return code
}

// New returns a pool on a new, migrated database, which is dropped when the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Connect(t.Context(), URL(t), "test", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL returns the connection string of a new, migrated database, which is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return create(t, "")
}

// Empty returns the connection string of a new database without a schema, which is dropped when the test ends.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, "template0")
}

// Server returns a separate server with settings, which stops when the test ends.
func Server(t testing.TB, settings map[string]string) *embedded.Server {
	t.Helper()
	dir, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := embedded.Options{Settings: map[string]string{"fsync": "off"}}
	maps.Copy(o.Settings, settings)
	s, err := embedded.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// makeDir creates a directory for a server. It does not use t.TempDir: for root, PostgreSQL runs as another user, who cannot
// enter that.
func makeDir() (string, error) { return os.MkdirTemp("", "presencelog-test-") }

// Strings returns the rows of a query with one column of text.
func Strings(t testing.TB, conn db.DBTX, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// Exec runs statements, which must succeed.
func Exec(t testing.TB, conn db.DBTX, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Get returns the value of a query with one row and one column.
func Get[T any](t testing.TB, conn db.DBTX, sql string, args ...any) T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// Output collects the output of a process or a log. It can be read at any time.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the output.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns all of the output so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Seed returns the seed of a random test and logs it: the environment variable TEST_SEED, or a new one.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
	}
	t.Logf("TEST_SEED=%d repeats this", seed)
	return seed
}

// Rand returns random numbers derived from Seed. Several goroutines may use it; which one gets a number depends on their order.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(&lockedSource{source: rand.NewPCG(Seed(t), 0)})
}

type lockedSource struct {
	mu     sync.Mutex
	source rand.Source
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Uint64()
}

// Timeout is how long tests wait for something that must happen. It is long because machines may be busy.
const Timeout = 2 * time.Minute

// Eventually waits until a condition holds. After Timeout, the test fails and says what did not happen.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	pause := 5 * time.Millisecond
	for deadline := time.Now().Add(Timeout); !holds(); pause = min(pause*5/4, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Timeout, what)
		}
		time.Sleep(pause)
	}
}

// AwaitBlocked waits until a connection to the pool's database waits for a lock. If done has a result first, the test fails.
func AwaitBlocked(t testing.TB, pool *pgxpool.Pool, done <-chan error) {
	t.Helper()
	Eventually(t, "a connection waits for a lock", func() (blocked bool) {
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
		if blocked {
			return true
		}
		select {
		case err := <-done:
			t.Fatalf("it did not wait (%v)", err)
		default:
		}
		return false
	})
}

// create copies a template database; "" is the migrated one. It starts the server if necessary.
func create(t testing.TB, template string) string {
	t.Helper()
	server.Do(func() { server.err = start() })
	if server.err != nil {
		t.Fatalf("pgtest: %v", server.err)
	}
	if template == "" {
		template = server.template
	}
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := admin("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	url := postgres.InDatabase(server.url, name)
	t.Cleanup(func() {
		if err := checkSums(url); err != nil {
			t.Errorf("pgtest: %v", err)
		}
		if err := admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return url
}

// checkSums returns an error unless interval_sums equals the sums of intervals.
func checkSums(database string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('interval_sums') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return err
	}
	rows, err := conn.Query(ctx, `
		SELECT concat_ws(' ', coalesce(s.quarter, i.quarter), coalesce(s.measure, i.measure),
			'has', s.starts, s.micros, s.confirmed_micros, 'want', i.starts, i.micros, i.confirmed_micros)
		FROM (SELECT * FROM interval_sums WHERE (starts, micros, confirmed_micros) <> (0, 0, 0)) AS s
		FULL JOIN (
			SELECT i.instance_id, i.measure, p.quarter, sum(p.starts) AS starts, sum(p.micros) AS micros, sum(p.confirmed_micros) AS confirmed_micros
			FROM intervals AS i CROSS JOIN LATERAL quarter_pieces(i.started_at, i.ended_at, i.confirmed_until) AS p
			GROUP BY i.instance_id, i.measure, p.quarter
		) AS i ON i.instance_id = s.instance_id AND i.measure = s.measure AND i.quarter = s.quarter
		WHERE (s.starts, s.micros, s.confirmed_micros) IS DISTINCT FROM (i.starts, i.micros, i.confirmed_micros)
		ORDER BY 1 LIMIT 3`)
	if err != nil {
		return err
	}
	wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("interval_sums differ from intervals:\n%s", strings.Join(wrong, "\n"))
	}
	return err
}

func start() error {
	ctx := context.Background()
	server.url = os.Getenv("TEST_DATABASE_URL")
	if server.url == "" {
		dir, err := makeDir()
		if err != nil {
			return err
		}
		server.dir = dir
		server.embedded, err = embedded.Open(ctx, dir, embedded.Options{Settings: map[string]string{
			"fsync": "off", "full_page_writes": "off",
			"max_connections": "500", // for as many parallel tests as processors
			"autovacuum":      "off", // so that statistics, plans and locks do not depend on its timing
		}})
		if err != nil {
			return err
		}
		server.url = server.embedded.ConnString()
	}
	return makeTemplate(ctx)
}

// makeTemplate creates the database that tests copy. Its name has a hash of the migrations, so that it can be reused on a
// server that outlives the tests.
func makeTemplate(ctx context.Context) error {
	hash := sha256.New()
	files, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return err
	}
	for _, name := range files {
		content, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return err
		}
		hash.Write(content)
	}
	server.template = "presencelog_template_" + hex.EncodeToString(hash.Sum(nil))[:16]

	conn, err := pgx.Connect(ctx, server.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// Several test binaries may share a server: only one creates the template.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext('presencelog test template'))"); err != nil {
		return err
	}
	var ready bool
	err = conn.QueryRow(ctx, "SELECT coalesce((SELECT datistemplate FROM pg_database WHERE datname = $1), false)",
		server.template).Scan(&ready)
	if err != nil || ready {
		return err
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + server.template, "CREATE DATABASE " + server.template + " TEMPLATE template0"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	pool, err := postgres.Connect(ctx, postgres.InDatabase(server.url, server.template), "test", 2)
	if err != nil {
		return err
	}
	err = postgres.Up(ctx, pool)
	if err == nil { // as if tests began in the past, so that their events are not late
		_, err = pool.Exec(ctx, "UPDATE interval_progress SET watermark = '-infinity', cutoff = '-infinity'")
	}
	pool.Close()
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+server.template+" WITH IS_TEMPLATE true")
	return err
}

// admin runs a statement that creates or drops a database. PostgreSQL waits 5 seconds for the last connections to the database
// to end, which can take longer on a busy machine.
func admin(sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for until := time.Now().Add(Timeout); ; {
		_, err := conn.Exec(ctx, sql)
		if postgres.ErrorCode(err) != pgerrcode.ObjectInUse || time.Now().After(until) {
			return err
		}
	}
}
