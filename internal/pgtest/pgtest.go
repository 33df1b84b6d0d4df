// Package pgtest gives every test a migrated database of its own on a real PostgreSQL: the embedded one, started once per
// test binary, or the server that TEST_DATABASE_URL names.
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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

// Main runs a package's tests and takes away what New started for them: func TestMain(m) { os.Exit(pgtest.Main(m)) }.
func Main(m *testing.M) int {
	code := m.Run()
	if server.embedded != nil {
		if err := server.embedded.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			code = max(code, 1)
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
	server.Do(func() { server.err = start() })
	if server.err != nil {
		t.Fatalf("pgtest: %v", server.err)
	}
	return create(t, server.template)
}

// Empty returns the connection string of a new database without a schema, which is dropped when the test ends.
func Empty(t testing.TB) string {
	t.Helper()
	server.Do(func() { server.err = start() })
	if server.err != nil {
		t.Fatalf("pgtest: %v", server.err)
	}
	return create(t, "template0")
}

func create(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := admin("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return inDatabase(server.url, name)
}

func start() error {
	ctx := context.Background()
	server.url = os.Getenv("TEST_DATABASE_URL")
	if server.url == "" {
		// Not t.TempDir: PostgreSQL runs as another user if this is root, who may not enter it.
		dir, err := os.MkdirTemp("", "presencelog-test-")
		if err != nil {
			return err
		}
		server.dir = dir
		server.embedded, err = embedded.Open(ctx, dir, embedded.Options{Settings: map[string]string{
			"fsync": "off", "full_page_writes": "off", "max_connections": "200",
		}})
		if err != nil {
			return err
		}
		server.url = server.embedded.ConnString()
	}
	return makeTemplate(ctx)
}

// makeTemplate makes the database that tests get copies of. It is named by what the migrations say, so that it can be
// kept on a server of its own.
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
	// Test binaries that share a server make it one after another.
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
	pool, err := postgres.Connect(ctx, inDatabase(server.url, server.template), "test", 1)
	if err != nil {
		return err
	}
	err = postgres.Up(ctx, pool)
	pool.Close()
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+server.template+" WITH IS_TEMPLATE true")
	return err
}

func admin(sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// inDatabase returns a connection string with another database.
func inDatabase(url, name string) string {
	if !strings.Contains(url, "://") {
		return url + " dbname=" + name // the last one counts
	}
	base, query, _ := strings.Cut(url, "?")
	if at := strings.LastIndex(base, "/"); at > len("postgres://") {
		base = base[:at]
	}
	return base + "/" + name + "?" + query
}
