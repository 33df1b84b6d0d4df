package analyst_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/analyst"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// create creates an analyst with a unique name, since roles belong to the whole server, and connects as it.
func create(t testing.TB, pool *pgxpool.Pool, instances ...string) (string, *pgx.Conn) {
	t.Helper()
	name := fmt.Sprintf(`Ana "%x'`, rand.Uint64())
	password := `it's \ a "secret"`
	if err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: name, Instances: instances}, login(password)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A connection that ends drops its temporary objects, and must not meet DROP OWNED there.
		pgtest.Eventually(t, "the analyst's connections have ended", func() (ended bool) {
			const sql = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1)"
			if err := pool.QueryRow(context.Background(), sql, name).Scan(&ended); err != nil {
				t.Fatal(err)
			}
			return ended
		})
		if err := analyst.Drop(context.Background(), pool, name); err != nil {
			t.Error(err)
		}
	})
	config := pool.Config().ConnConfig.Copy()
	config.User, config.Password = name, password
	config.RuntimeParams = map[string]string{"timezone": "UTC"}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return name, conn
}

func login(password string) analyst.Login {
	return analyst.Login{Password: password, StatementTimeout: time.Minute}
}

// allowTemp lets a role create temporary tables.
func allowTemp(t *testing.T, pool *pgxpool.Pool, role string) {
	t.Helper()
	sql := fmt.Sprintf("GRANT TEMPORARY ON DATABASE %s TO %s", pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize(),
		pgx.Identifier{role}.Sanitize())
	pgtest.Exec(t, pool, sql)
}

// views lists the views of schema analytics.
func views(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	return pgtest.Strings(t, pool, "SELECT viewname::text FROM pg_views WHERE schemaname = 'analytics' ORDER BY 1")
}

// seed stores a little of two instances: something of everything, up to now.
func seed(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	now := presence.Now()
	var events []presence.Event
	for _, instance := range []string{"north", "south"} {
		for i, status := range []presence.Status{
			presence.Available, presence.Composing, presence.Paused, presence.Recording, presence.Unavailable, presence.Composing,
		} {
			at := now.Add(time.Duration(i-5) * 3 * time.Hour)
			events = append(events, presence.Event{InstanceID: instance, Phone: instance + "-1", Status: status, ReceivedAt: at})
		}
	}
	if _, err := ingest.NewStore(pool).Merge(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func TestAnalystsSeeTheirInstancesInEveryView(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	_, all := create(t, pool)
	_, north := create(t, pool, "north")
	_, both := create(t, pool, "south", "north")
	list := views(t, pool)
	if len(list) != 13 {
		t.Fatalf("the views are %q", list)
	}
	for _, from := range append(list,
		"spans('-infinity', 'infinity')", "visits('-infinity', 'infinity')", "daily()", "daily('Asia/Kathmandu')",
		"daily(phone => 'north-1')", "daily(instance_id => 'north')", "hourly(now() - interval '1 day', now())",
		"hourly(phone => 'north-1')") {
		sql := "SELECT DISTINCT instance_id FROM " + from + " ORDER BY 1"
		if strings.HasSuffix(from, "hourly") {
			sql = strings.Replace(sql, " ORDER", " WHERE hour > now() - interval '1 day' ORDER", 1)
		}
		want := []string{"north", "south"}
		if strings.Contains(from, "north") {
			want = want[:1]
		}
		for name, conn := range map[string]db.DBTX{"all": all, "both": both} {
			if got := pgtest.Strings(t, conn, sql); !slices.Equal(got, want) {
				t.Errorf("%s sees %q in %s", name, got, from)
			}
		}
		if got := pgtest.Strings(t, north, sql); !slices.Equal(got, []string{"north"}) {
			t.Errorf("north sees %q in %s", got, from)
		}
		if got := pgtest.Strings(t, pool, strings.Replace(sql, "FROM ", "FROM analytics.", 1)); !slices.Equal(got, want) {
			t.Errorf("the service itself sees %q in %s", got, from)
		}
	}
	for _, ask := range []string{"daily(phone => 'south-1')", "daily(instance_id => 'south')"} {
		if got := pgtest.Strings(t, north, "SELECT instance_id FROM "+ask); len(got) != 0 {
			t.Errorf("north sees %q in %s", got, ask)
		}
	}
}

func TestDropRemovesTemporaryTables(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	name, conn := create(t, pool)
	allowTemp(t, pool, name)
	for _, sql := range []string{"SET default_transaction_read_only = off", "CREATE TEMP TABLE mine AS SELECT 1"} {
		pgtest.Exec(t, conn, sql)
	}
	list, err := analyst.List(t.Context(), pool)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := analyst.Drop(t.Context(), pool, list[0].Name); err != nil {
		t.Error(err)
	}
	// create's own clean-up wants one to drop.
	if err := analyst.Create(t.Context(), pool, list[0], login("p")); err != nil {
		t.Error(err)
	}
}

func TestListAndDrop(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	one, _ := create(t, pool, "south", "north")
	gone := one + "x"
	if err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: gone}, login("p")); err != nil {
		t.Fatal(err)
	}
	if err := analyst.Drop(t.Context(), pool, gone); err != nil {
		t.Fatal(err)
	}
	// As after a restore on another server.
	pgtest.Exec(t, pool, "INSERT INTO analysts (role_name) VALUES ('elsewhere')")
	if err := analyst.Drop(t.Context(), pool, "elsewhere"); err != nil {
		t.Error(err)
	}
	list, err := analyst.List(t.Context(), pool)
	if want := []analyst.Analyst{{Name: one, Instances: []string{"north", "south"}}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	if n := pgtest.Strings(t, pool, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", gone); len(n) != 0 {
		t.Error("the role is still there")
	}
}

// An analyst is known, and can be dropped in the end, after the erasure of its only instance.
func TestAnalystOfErasedInstance(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	name, _ := create(t, pool, "south")
	if _, err := erasure.Erase(t.Context(), pool, erasure.Request{InstanceID: "south", By: "test"}); err != nil {
		t.Fatal(err)
	}
	list, err := analyst.List(t.Context(), pool)
	if want := []analyst.Analyst{{Name: name, Instances: []string{"south"}}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestCreateRefusesInvalidRoles(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	name, _ := create(t, pool)
	for _, test := range []struct {
		err  error
		want string
	}{
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: name}, login("p")), "already"},
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: name + "2", Instances: []string{"north", "west"}}, login("p")), `no instance "west"`},
		{analyst.Create(t.Context(), pool, analyst.Analyst{}, login("p")), "1 to 63 bytes"},
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: strings.Repeat("n", 64)}, login("p")), "1 to 63 bytes"},
		{analyst.Drop(t.Context(), pool, "postgres"), `no analyst "postgres"`},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%v, want %s", test.err, test.want)
		}
	}
	if n := pgtest.Strings(t, pool, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", name+"2"); len(n) != 0 {
		t.Error("a role was left behind")
	}
}

// TestServiceNeedNotBeSuperuser works as a plain owner of the database, with and without CREATEROLE.
func TestServiceNeedNotBeSuperuser(t *testing.T) {
	t.Parallel()
	owner := fmt.Sprintf("owner_%x", rand.Uint64())
	super := pgtest.New(t)
	run := func(sql string) {
		t.Helper()
		if _, err := super.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE ROLE " + owner + " LOGIN PASSWORD 'p'")
	t.Cleanup(func() {
		run("REASSIGN OWNED BY " + owner + " TO CURRENT_USER")
		run("DROP OWNED BY " + owner)
		run("DROP ROLE " + owner)
	})
	run("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO " + owner + "', current_database()); END $$")
	for _, kind := range []string{"TABLE", "VIEW"} {
		relkinds := map[string]string{"TABLE": "'r', 'p'", "VIEW": "'v'"}[kind]
		for _, r := range pgtest.Strings(t, super, `
			SELECT oid::regclass::text FROM pg_class
			WHERE relnamespace IN ('public'::regnamespace, 'analytics'::regnamespace) AND relkind IN (`+relkinds+`)`) {
			run("ALTER " + kind + " " + r + " OWNER TO " + owner)
		}
	}
	run("ALTER SCHEMA analytics OWNER TO " + owner)
	for _, f := range pgtest.Strings(t, super, `
		SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'analytics'::regnamespace)`) {
		run("ALTER FUNCTION " + f + " OWNER TO " + owner)
	}
	config := super.Config().Copy()
	config.ConnConfig.User, config.ConnConfig.Password = owner, "p"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	seed(t, super)

	err = analyst.Create(t.Context(), pool, analyst.Analyst{Name: owner + "_ana"}, login("p"))
	if err == nil || !strings.Contains(err.Error(), "run ALTER ROLE \""+owner+"\" CREATEROLE") {
		t.Errorf("without CREATEROLE: %v", err)
	}
	run("ALTER ROLE " + owner + " CREATEROLE")
	_, conn := create(t, pool, "north")
	for _, view := range views(t, super) {
		if got := pgtest.Strings(t, conn, "SELECT DISTINCT instance_id FROM "+view); !slices.Equal(got, []string{"north"}) {
			t.Errorf("%s gives %q", view, got)
		}
		if got := pgtest.Strings(t, pool, "SELECT DISTINCT instance_id FROM analytics."+view); len(got) != 2 {
			t.Errorf("the owner sees %q in %s", got, view)
		}
	}
}
