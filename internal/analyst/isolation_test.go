package analyst_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// privileged are the functions that run with the service's rights and that an analyst may call. Each returns only what its caller
// may see. All others have the rights of their caller, who may read no table.
var privileged = []string{
	"analytics.daily", "analytics.hourly", "analytics.spans", "visible_days", "visible_fresh_intervals", "visible_hours", "visible_spans", "visible_sum_changes",
	"visible_unsettled_status",
}

// TestAnalystsSeeNothingElse tries every table, every function with the service's rights and many others, as an analyst who has
// found out how they are called and of which numbers.
func TestAnalystsSeeNothingElse(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	seed(t, pool)
	name, north := create(t, pool, "north")
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
	tables := pgtest.Strings(t, pool, `
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
	refused("CREATE TEMP TABLE mine ()")
	refused("SELECT lo_create(0)")
	refused("SELECT lo_from_bytea(0, 'x')")
	allowTemp(t, pool, name)

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
	for _, from := range []string{
		"public.visible_spans(%[2]d, '-infinity', 'infinity')",
		"public.visible_unsettled_status() WHERE contact_id = %[2]d AND %[1]d > 0",
	} {
		if n := count(fmt.Sprintf(from, ids["north"], ids["north-1"])); n == 0 {
			t.Errorf("%s tells nothing of north", from)
		}
		for _, other := range [][2]int{{ids["south"], ids["south-1"]}, {ids["north"], ids["south-1"]}} {
			if n := count(fmt.Sprintf(from, other[0], other[1])); n != 0 {
				t.Errorf("%s with %v tells %d rows", from, other, n)
			}
		}
	}
	for from, instances := range map[string]string{
		"visible_fresh_intervals": "north", "visible_sum_changes": "north", "visible_unsettled_status": "north", "visible_days": "1",
	} {
		column := "instance_name"
		if from == "visible_days" {
			column = "max(cardinality(instance_ids))::text"
		}
		if got := pgtest.Strings(t, north, "SELECT DISTINCT "+column+" FROM public."+from+"()"); !slices.Equal(got, []string{instances}) {
			t.Errorf("%s tells of %q", from, got)
		}
	}
	if got := pgtest.Strings(t, pool, `SELECT oid::regproc::text AS name FROM pg_proc
		WHERE prosecdef AND pronamespace <> 'pg_catalog'::regnamespace AND has_function_privilege($1::name, oid, 'EXECUTE')
		ORDER BY name`, name); !slices.Equal(got, privileged) {
		t.Errorf("with the service's rights, an analyst may call %q, want %q", got, privileged)
	}
	if err := exec("SET search_path = public"); err != nil { // so that what they name is found
		t.Fatal(err)
	}
	for _, call := range []string{
		fmt.Sprintf("public.spans(%d, '-infinity', 'infinity', now())", ids["north-1"]),
		fmt.Sprintf("public.steps(ARRAY[%d], 'infinity')", ids["north-1"]),
		fmt.Sprintf("public.fresh_intervals(ARRAY[%d], now())", ids["north-1"]),
		fmt.Sprintf("public.contact_status(ARRAY[%d], now())", ids["north-1"]),
		fmt.Sprintf("public.settled_status(%d, now())", ids["north-1"]),
		fmt.Sprintf("public.contact_intervals(ARRAY[%d], '-infinity', 'infinity', now())", ids["north-1"]),
		fmt.Sprintf("public.stored_within(%d, '-infinity', 'infinity')", ids["north"]),
		fmt.Sprintf("public.visible_sums(%d, NULL, ARRAY['-infinity', 'infinity']::timestamptz[])", ids["north"]),
		fmt.Sprintf("public.sum_instance(%d, ARRAY['-infinity', 'infinity']::timestamptz[], now(), true)", ids["north"]),
		"public.active_contacts('-infinity', 'infinity')",
		"public.reset_contacts('{1}', NULL)", "public.make_partition('events', '2030-01-01')",
		fmt.Sprintf("public.mark_late(ARRAY[%d], ARRAY[now()])", ids["north-1"]),
		"public.refresh_intervals(now())", "public.refresh_late_intervals(now())",
	} {
		refused("SELECT * FROM " + call)
	}
	if err := exec("RESET search_path"); err != nil {
		t.Fatal(err)
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
		if got := pgtest.Strings(t, north, sql); !slices.Equal(got, []string{"north"}) {
			t.Errorf("%s gives %q", sql, got)
		}
	}
	if got := pgtest.Strings(t, north, "SELECT DISTINCT instance_id FROM analytics.spans('-infinity', 'infinity')"); !slices.Equal(got, []string{"north"}) {
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
