package analyst_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/analyst"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// create makes an analyst with a name of its own, since roles belong to the whole server, and connects as it.
func create(t testing.TB, pool *pgxpool.Pool, instances ...string) (string, *pgx.Conn) {
	t.Helper()
	name := fmt.Sprintf(`Ana "%x'`, rand.Uint64())
	password := `it's \ a "secret"`
	if err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: name, Instances: instances}, password); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
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

// views lists the views of schema analytics.
func views(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	return texts(t, pool, "SELECT viewname::text FROM pg_views WHERE schemaname = 'analytics' ORDER BY 1")
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func texts(t testing.TB, conn querier, sql string, args ...any) []string {
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
	if len(list) != 12 {
		t.Fatalf("the views are %q", list)
	}
	for _, from := range append(list,
		"spans('-infinity', 'infinity')", "visits('-infinity', 'infinity')", "daily()", "daily('Asia/Kathmandu')",
		"daily(phone => 'north-1')", "daily(instance_id => 'north')") {
		sql := "SELECT DISTINCT instance_id FROM " + from + " ORDER BY 1"
		if strings.HasSuffix(from, "hourly") {
			sql = strings.Replace(sql, " ORDER", " WHERE hour > now() - interval '1 day' ORDER", 1)
		}
		want := []string{"north", "south"}
		if strings.Contains(from, "north") {
			want = want[:1]
		}
		for name, conn := range map[string]querier{"all": all, "both": both} {
			if got := texts(t, conn, sql); !slices.Equal(got, want) {
				t.Errorf("%s sees %q in %s", name, got, from)
			}
		}
		if got := texts(t, north, sql); !slices.Equal(got, []string{"north"}) {
			t.Errorf("north sees %q in %s", got, from)
		}
		if got := texts(t, pool, strings.Replace(sql, "FROM ", "FROM analytics.", 1)); !slices.Equal(got, want) {
			t.Errorf("the service itself sees %q in %s", got, from)
		}
	}
	for _, ask := range []string{"daily(phone => 'south-1')", "daily(instance_id => 'south')"} {
		if got := texts(t, north, "SELECT instance_id FROM "+ask); len(got) != 0 {
			t.Errorf("north sees %q in %s", got, ask)
		}
	}
}

// TestAnalystsSeeNothingElse knows every table and function of the service and tries each, as an analyst who has found
// out how they are called and of which numbers.
func TestAnalystsSeeNothingElse(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	_, north := create(t, pool, "north")
	exec := func(sql string) error {
		_, err := north.Exec(t.Context(), sql)
		return err
	}
	refused := func(sql string) {
		t.Helper()
		var e *pgconn.PgError
		// insufficient_privilege, or an attempt to write to a view
		if err := exec(sql); !errors.As(err, &e) || e.Code != "42501" && e.Code != "55000" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if err := exec("SET default_transaction_read_only = off"); err != nil {
		t.Fatal(err)
	}
	tables := texts(t, pool, `
		SELECT oid::regclass::text FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY 1`)
	for _, table := range tables {
		refused("SELECT * FROM public." + table)
		refused("DELETE FROM public." + table)
	}
	for _, view := range views(t, pool) {
		refused("DELETE FROM " + view)
	}
	refused("CREATE TABLE analytics.mine ()")
	refused("CREATE SCHEMA mine")

	// Of what the functions tell, nothing may be of the other instance.
	ids := map[string]int{}
	for _, name := range []string{"north", "south"} {
		var instance, contact int
		if err := pool.QueryRow(t.Context(), `
			SELECT i.id, c.id FROM instances AS i INNER JOIN contacts AS c ON c.instance_id = i.id WHERE i.name = $1`, name,
		).Scan(&instance, &contact); err != nil {
			t.Fatal(err)
		}
		ids[name], ids[name+"-1"] = instance, contact
	}
	count := func(from string) (n int) {
		t.Helper()
		if err := north.QueryRow(t.Context(), "SELECT count(*) FROM "+from).Scan(&n); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		return n
	}
	for _, call := range []struct {
		from string
		all  int // how many rows of both
	}{
		{"public.first_heard(%[1]d) AS f WHERE f IS NOT NULL", 1},
		{"public.contact_spans(%[2]d, '-infinity', 'infinity')", 0},
		{"public.contact_visits(%[2]d, '-infinity', 'infinity')", 0},
		{"public.sums(%[1]d, NULL, true, '-infinity', 'infinity')", 0},
		{"public.sums(%[1]d, NULL, false, '-infinity', 'infinity')", 0},
		{"public.sums(%[1]d, %[2]d, true, '-infinity', 'infinity')", 0},
	} {
		if n := count(fmt.Sprintf(call.from, ids["north"], ids["north-1"])); n == 0 {
			t.Errorf("%s tells nothing of north", call.from)
		}
		for _, other := range [][2]int{{ids["south"], ids["south-1"]}, {ids["north"], ids["south-1"]}} {
			if other[0] == ids["north"] && (!strings.Contains(call.from, "%[2]d")) {
				continue
			}
			if n := count(fmt.Sprintf(call.from, other[0], other[1])); n != 0 {
				t.Errorf("%s with %v tells %d rows", call.from, other, n)
			}
		}
	}
	if n := count("public.present_contacts(3::smallint)"); n != 1 {
		t.Errorf("%d contacts are present", n)
	}
	for _, call := range []string{
		fmt.Sprintf("public.spans(%d, '-infinity', 'infinity', now())", ids["north-1"]),
		fmt.Sprintf("public.stretches(%d, '-infinity', 'infinity', now())", ids["north-1"]),
		"public.heard_between('-infinity', 'infinity')", fmt.Sprintf("public.not_rolled_up(%d, '-infinity')", ids["north"]),
		fmt.Sprintf("public.stretches_ended(%d, '-infinity', 'infinity', now())", ids["north"]),
		fmt.Sprintf("public.instance_stretches(%d, '-infinity', 'infinity', now())", ids["north"]),
		"public.mark_all_stale(NULL)", "public.make_events_partition('2030-01-01')",
		fmt.Sprintf("public.roll_up(%d, '-infinity', 'infinity', now())", ids["north"]),
	} {
		if err := exec("SELECT * FROM " + call); err == nil {
			t.Errorf("%s answers", call)
		}
	}

	// Functions that see a row before the view has chosen it, temporary tables in place of the service's own.
	for _, sql := range []string{
		`CREATE FUNCTION pg_temp.seen(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
			BEGIN IF $1 LIKE 'south%' THEN RAISE EXCEPTION 'seen: %', $1; END IF; RETURN true; END $$`,
		"CREATE TEMP VIEW visible_instances AS SELECT 1 AS id, 'south' AS name, 'UTC' AS time_zone",
		"CREATE TEMP TABLE analysts (role_name name, instance_id integer)",
		"INSERT INTO analysts VALUES (current_user, NULL)",
		"SET search_path = pg_temp, analytics, public",
	} {
		if err := exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range views(t, pool) {
		column := "phone"
		if strings.HasPrefix(view, "instance") {
			column = "instance_id"
		}
		sql := fmt.Sprintf("SELECT DISTINCT instance_id FROM analytics.%s WHERE pg_temp.seen(%s)", view, column)
		if got := texts(t, north, sql); !slices.Equal(got, []string{"north"}) {
			t.Errorf("%s gives %q", sql, got)
		}
	}
	if got := texts(t, north, "SELECT DISTINCT instance_id FROM analytics.spans('-infinity', 'infinity')"); !slices.Equal(got, []string{"north"}) {
		t.Errorf("spans() gives %q", got)
	}
}

func TestAnalystsReadOnly(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, conn := create(t, pool)
	var readOnly, path string
	err := conn.QueryRow(t.Context(), "SELECT current_setting('transaction_read_only'), current_setting('search_path')").Scan(&readOnly, &path)
	if err != nil || readOnly != "on" || path != "analytics" {
		t.Errorf("read only: %s, search_path %s, %v", readOnly, path, err)
	}
}

func TestDropTakesTemporaryTablesToo(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	_, conn := create(t, pool)
	for _, sql := range []string{"SET default_transaction_read_only = off", "CREATE TEMP TABLE mine AS SELECT 1"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	list, err := analyst.List(t.Context(), pool)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := analyst.Drop(t.Context(), pool, list[0].Name); err != nil {
		t.Error(err)
	}
	// create's own clean-up wants one to drop.
	if err := analyst.Create(t.Context(), pool, list[0], "p"); err != nil {
		t.Error(err)
	}
}

func TestListAndDrop(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	one, _ := create(t, pool, "south", "north")
	gone := one + "x"
	if err := analyst.Create(t.Context(), pool, analyst.Analyst{Name: gone}, "p"); err != nil {
		t.Fatal(err)
	}
	if err := analyst.Drop(t.Context(), pool, gone); err != nil {
		t.Fatal(err)
	}
	list, err := analyst.List(t.Context(), pool)
	if want := []analyst.Analyst{{Name: one, Instances: []string{"north", "south"}}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	if n := texts(t, pool, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", gone); len(n) != 0 {
		t.Error("the role is still there")
	}
}

func TestWhatCannotBeMade(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	name, _ := create(t, pool)
	for _, test := range []struct {
		err  error
		want string
	}{
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: name}, "p"), "already"},
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: name + "2", Instances: []string{"north", "west"}}, "p"), `no instance "west"`},
		{analyst.Create(t.Context(), pool, analyst.Analyst{}, "p"), "1 to 63 bytes"},
		{analyst.Create(t.Context(), pool, analyst.Analyst{Name: strings.Repeat("n", 64)}, "p"), "1 to 63 bytes"},
		{analyst.Drop(t.Context(), pool, "postgres"), `no analyst "postgres"`},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%v, want %s", test.err, test.want)
		}
	}
	if n := texts(t, pool, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", name+"2"); len(n) != 0 {
		t.Error("a role was left behind")
	}
}

// TestTheServiceNeedNotBeSuperuser works as a plain owner of the database, with and without CREATEROLE.
func TestTheServiceNeedNotBeSuperuser(t *testing.T) {
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
		for _, r := range texts(t, super, `
			SELECT oid::regclass::text FROM pg_class
			WHERE relnamespace IN ('public'::regnamespace, 'analytics'::regnamespace) AND relkind IN (`+relkinds+`)`) {
			run("ALTER " + kind + " " + r + " OWNER TO " + owner)
		}
	}
	run("ALTER SCHEMA analytics OWNER TO " + owner)
	for _, f := range texts(t, super, `
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

	err = analyst.Create(t.Context(), pool, analyst.Analyst{Name: owner + "_ana"}, "p")
	if err == nil || !strings.Contains(err.Error(), "run ALTER ROLE \""+owner+"\" CREATEROLE") {
		t.Errorf("without CREATEROLE: %v", err)
	}
	run("ALTER ROLE " + owner + " CREATEROLE")
	_, conn := create(t, pool, "north")
	for _, view := range views(t, super) {
		if got := texts(t, conn, "SELECT DISTINCT instance_id FROM "+view); !slices.Equal(got, []string{"north"}) {
			t.Errorf("%s gives %q", view, got)
		}
		if got := texts(t, pool, "SELECT DISTINCT instance_id FROM analytics."+view); len(got) != 2 {
			t.Errorf("the owner sees %q in %s", got, view)
		}
	}
}
