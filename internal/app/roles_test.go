package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// as returns the connection string of a database for a new role, which the test drops, and a connection of the owner.
func as(t *testing.T, attributes string) (conn string, owner *pgxpool.Pool, role string) {
	t.Helper()
	database := pgtest.URL(t)
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	owner, err = postgres.Connect(t.Context(), database, "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	role = "role_" + config.Database
	exec := func(sql string) {
		t.Helper()
		if _, err := owner.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'secret' %s", role, attributes))
	t.Cleanup(func() {
		defer owner.Close()
		for _, sql := range []string{"REASSIGN OWNED BY %s TO CURRENT_USER", "DROP OWNED BY %s", "DROP ROLE %s"} {
			if _, err := owner.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(sql, role)); err != nil {
				t.Error(err)
			}
		}
	})
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host='%s' port=%d user=%s password=secret dbname=%s sslmode=disable", quoted.Replace(config.Host), config.Port, role, config.Database), owner, role
}

// The service needs no more than to read and write its tables, if another role migrates.
func TestServiceRunsWithLeastPrivilege(t *testing.T) {
	t.Parallel()
	conn, owner, role := as(t, "NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT")
	if err := postgres.MakePartitionsAhead(t.Context(), owner, presence.Now()); err != nil {
		t.Fatal(err)
	}
	for _, grant := range []string{
		"GRANT USAGE ON SCHEMA public TO %s", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %s",
		"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO %s",
	} {
		pgtest.Exec(t, owner, fmt.Sprintf(grant, role))
	}
	s := start(t, func(c *app.Config) { c.Database, c.NoMigrate = conn, true })
	s.postID(t, body("i", "p", "COMPOSING"))
	for _, path := range []string{"/v1/instances", "/v1/now", "/v1/instances/i/contacts/p/timeline", "/v1/instances/i/durations", "/v1/status", "/readyz"} {
		if a := s.do(t, request(t, http.MethodGet, s.url+path, nil)); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	if _, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.Read}}); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{
		"DROP TABLE events", "ALTER TABLE events DISABLE TRIGGER ALL", "CREATE ROLE another", "COPY events TO '/tmp/events'",
		"SELECT pg_read_file('/etc/passwd')", "CREATE TABLE public.t ()",
	} {
		if _, err := s.pool.Exec(t.Context(), sql); postgres.ErrorCode(err) != pgerrcode.InsufficientPrivilege {
			t.Errorf("%s is not refused for want of a privilege: %v", sql, err)
		}
	}
}
