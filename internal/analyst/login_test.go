package analyst_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3/lock"

	"github.com/presencelog/presencelog/internal/analyst"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

// It uses its own server, since it reads the whole log.
func TestPasswordIsCheckedAndInNoServerLog(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, map[string]string{"log_statement": "all"})
	pool, err := postgres.Connect(t.Context(), server.ConnString(), "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := postgres.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	const name, password = `ana & "co"`, `open\'%sesame/ ?@:`
	for _, want := range []string{"", "already"} { // a failed statement is logged whatever the settings are
		err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: name}, login(password))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	for given, valid := range map[string]bool{password: true, password + "x": false, "": false} {
		address, err := analyst.URL(server.ConnString(), name, given)
		if err != nil {
			t.Fatal(err)
		}
		if err := analyst.Try(t.Context(), address); (err == nil) != valid {
			t.Errorf("with the password %q: %v", given, err)
		}
	}
	address, err := analyst.URL(server.ConnString()+" dbname=postgres", name, password)
	if err != nil {
		t.Fatal(err)
	}
	if err := analyst.Try(t.Context(), address); err == nil {
		t.Error("an analyst gets into another database")
	}
	log, err := os.ReadFile(filepath.Join(filepath.Dir(pgtest.Strings(t, pool, "SHOW data_directory")[0]), "postgres.log"))
	if err != nil || !strings.Contains(string(log), "CREATE ROLE") || strings.Contains(string(log), "sesame") {
		t.Errorf("the log holds the password, or no statement (%v)", err)
	}
}

func TestPasswordsThatClientsWouldNormalizeAreRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, password := range []string{"", "caf\u00e9", "a\nb"} {
		err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: "never"}, login(password))
		if err == nil || !strings.Contains(err.Error(), "password") {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for conn, want := range map[string]string{
		"postgres://service:s@db.example.org/presence?sslmode=require&pool_max_conns=3":            "postgresql://ana:p%20w@db.example.org:5432/presence?sslmode=require",
		"postgres://service@[::1]:6432/presence":                                                   "postgresql://ana:p%20w@[::1]:6432/presence",
		"host='/var/run/my dir' port=5433 user=service dbname=presence sslmode=disable password=x": "postgresql://ana:p%20w@/presence?host=%2Fvar%2Frun%2Fmy%20dir&port=5433",
	} {
		if got, err := analyst.URL(conn, "ana", "p w"); err != nil || got != want {
			t.Errorf("%s gives %s (%v), want %s", conn, got, err, want)
		}
	}
}

func TestLimitsOfAnalysts(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, conn := create(t, pool)
	for setting, want := range map[string]string{
		"statement_timeout": "1min", "idle_in_transaction_session_timeout": "1min", "lock_timeout": "10s", "temp_file_limit": "2GB",
	} {
		if got := pgtest.Get[string](t, conn, "SELECT current_setting($1)", setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
	var refused *pgconn.PgError
	for n := 2; ; n++ {
		more, err := pgx.ConnectConfig(t.Context(), conn.Config())
		if err != nil {
			if !errors.As(err, &refused) || refused.Code != "53300" || n < 5 || n > 20 {
				t.Errorf("connection %d: %v", n, err)
			}
			return
		}
		defer more.Close(context.Background())
		if n > 20 {
			t.Fatal("there is no limit of connections")
		}
	}
}

// TestOthersCannotPlantFunctions is an attack: a function that matches a call better than the service's own would run with
// the service's rights, and could grant all instances.
func TestOthersCannotPlantFunctions(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	pool, err := postgres.Connect(t.Context(), address, "test", 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	run := func(conn interface {
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}, statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := conn.Exec(context.Background(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	mallory := fmt.Sprintf("mallory_%x", rand.Uint64())
	run(pool, "CREATE ROLE "+mallory, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	t.Cleanup(func() { run(pool, "DROP OWNED BY "+mallory, "DROP ROLE "+mallory) })
	plant := func() {
		t.Helper()
		run(pool, "SET ROLE "+mallory+`; CREATE FUNCTION public.active_contacts(timestamptz, text) RETURNS TABLE (contact_id integer)
			LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted: %', current_user; END $$;
			CREATE FUNCTION public.mul(bigint, numeric) RETURNS numeric LANGUAGE sql RETURN 0;
			CREATE OPERATOR public.* (FUNCTION = public.mul, LEFTARG = bigint, RIGHTARG = numeric);
			RESET ROLE`)
	}
	// repaired runs the statements that a refusal names, and reports how many there are.
	repaired := func(err error) int {
		t.Helper()
		if err == nil {
			t.Fatal("it was not refused")
		}
		n := 0
		for line := range strings.Lines(err.Error()) {
			if statement, found := strings.CutPrefix(line, "  "); found {
				run(pool, statement)
				n++
			}
		}
		return n
	}
	plant()
	if n := repaired(postgres.Up(t.Context(), pool)); n != 3 { // what anybody may do, migrating takes away by itself
		t.Errorf("migrating named %d statements", n)
	}
	if err := postgres.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if creates := pgtest.Get[bool](t, pool, "SELECT has_schema_privilege($1, 'public', 'CREATE')", mallory); creates {
		t.Errorf("others may create in the schema")
	}

	run(pool, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	plant()
	name := analyst.Analyst{Name: mallory + "_ana"}
	if n := repaired(analyst.Create(t.Context(), pool, name, login("p"))); n != 4 {
		t.Errorf("creating an analyst named %d statements", n)
	}
	if err := analyst.Create(t.Context(), pool, name, login("p")); err != nil {
		t.Fatal(err)
	}
	if err := analyst.Drop(t.Context(), pool, name.Name); err != nil {
		t.Error(err)
	}
}

// TestAnalystsCannotHoldUpMigrations takes all that the lock of migrations could once be.
func TestAnalystsCannotHoldUpMigrations(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	other, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	pgtest.Exec(t, other, "SELECT pg_advisory_lock($1)", lock.DefaultLockID)
	pool, err := postgres.Connect(t.Context(), address, "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := postgres.Up(t.Context(), pool); err != nil {
		t.Error(err)
	}
	_, conn := create(t, pool)
	var refused *pgconn.PgError
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE public.goose_lock IN ACCESS SHARE MODE"); !errors.As(err, &refused) || refused.Code != "42501" {
		t.Errorf("an analyst locks: %v", err)
	}
}
