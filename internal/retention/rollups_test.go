package retention_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// rolledUp makes an instance with visits of all lengths, many of them across its horizon, and rolls all of it up.
func rolledUp(t *testing.T, pool *pgxpool.Pool) (instance int32) {
	t.Helper()
	fill(t, pool, "a", 1, shortFrom.AddDate(0, 0, -3), shortFrom.AddDate(0, 0, 3), 20*time.Minute)
	exec(t, pool, "INSERT INTO contacts (instance_id, phone) SELECT id, 'visit ' || n FROM instances, generate_series(1, 60) AS n")
	// Each is heard every 2 minutes, from n minutes before the horizon on; some leave before it, some right after it, some late.
	exec(t, pool, `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, $1::timestamptz + (2 * k - n) * interval '1 min', 0, CASE k % 3 WHEN 0 THEN 3 ELSE 1 END
		FROM generate_series(1, 60) AS n INNER JOIN contacts AS c ON c.phone = 'visit ' || n, generate_series(0, n % 4 * n / 3) AS k`, shortFrom)
	// One is in the chat for half a day.
	exec(t, pool, `INSERT INTO contacts (instance_id, phone) SELECT id, 'long' FROM instances`)
	exec(t, pool, `INSERT INTO events (contact_id, received_at, seq, status) SELECT c.id, at, 0, 1
		FROM contacts AS c, generate_series($1::timestamptz - interval '6 h', $1::timestamptz + interval '6 h', '4 min') AS at
		WHERE c.phone = 'long'`, shortFrom)
	instance = get[int32](t, pool, "SELECT id FROM instances WHERE name = 'a'")
	exec(t, pool, "UPDATE rollup_state SET rolled_until = $1", shortFrom.AddDate(0, 0, 5))
	rollUp(t, pool, instance, shortFrom.AddDate(0, 0, -4), shortFrom.AddDate(0, 0, 5))
	set(t, pool, "", "retention", "30d")
	return instance
}

func rollUp(t *testing.T, pool *pgxpool.Pool, instance int32, from, until time.Time) {
	t.Helper()
	exec(t, pool, "SELECT roll_up($1, $2, $3, $4)", instance, from, until, now)
}

// sums is what rollups tell of a range of time, slot by slot.
func sums(t *testing.T, pool *pgxpool.Pool, from, until time.Time) string {
	t.Helper()
	return get[string](t, pool, `
		SELECT coalesce(json_agg(s)::text, 'none') FROM (
			SELECT slot, measure, array_agg(concat_ws(' ', p.contact_id, p.inside, p.confirmed_inside, p.length)
				ORDER BY p.contact_id, p.inside, p.confirmed_inside, p.length)
			FROM rollups CROSS JOIN LATERAL parts_of(parts) AS p
			WHERE slot >= $1 AND slot < $2 GROUP BY slot, measure ORDER BY slot, measure) AS s`, from, until)
}

// What was rolled up before the horizon stays to the microsecond, though the events are gone; what follows it is what
// follows from the events that are left.
func TestRollupsOutliveEvents(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	instance := rolledUp(t, pool)
	first, last := shortFrom.AddDate(0, 0, -4), shortFrom.AddDate(0, 0, 5)
	before, after := sums(t, pool, first, shortFrom), sums(t, pool, shortFrom, last)
	if gone := run(t, pool); gone.Instances[0].Events == 0 || gone.Instances[0].Rollups != 0 {
		t.Fatalf("gone is %s", text(gone))
	}
	if got := sums(t, pool, first, shortFrom); got != before {
		t.Errorf("before the horizon there is\n%s, was\n%s", got, before)
	}
	if n := get[int](t, pool, `SELECT count(*) FROM rollups AS r
		WHERE slot > ended_slot OR (micros, confirmed_micros, starts) <> (
			SELECT sum(p.inside), sum(p.confirmed_inside), count(*) FILTER (WHERE p.length > 0) FROM parts_of(r.parts) AS p
		)`); n > 0 {
		t.Errorf("%d rollups contradict themselves", n)
	}
	// Only what is stale is made anew, and then it is as if all were.
	var from, until time.Time
	if err := pool.QueryRow(t.Context(), "SELECT min(from_slot), max(until_slot) FROM rollup_stale").Scan(&from, &until); err != nil {
		t.Fatal(err)
	}
	if !from.Equal(shortFrom) || until.Before(shortFrom.Add(6*time.Hour)) || until.After(shortFrom.Add(7*time.Hour)) {
		t.Errorf("stale is %s to %s", from, until)
	}
	rollUp(t, pool, instance, from, until)
	some := sums(t, pool, shortFrom, last)
	rollUp(t, pool, instance, shortFrom, last)
	if everything := sums(t, pool, shortFrom, last); some != everything || some == after || some == "none" {
		t.Errorf("after the horizon there is\n%s, want\n%s, was\n%s", some, everything, after)
	}
	if got := sums(t, pool, first, shortFrom); got != before {
		t.Errorf("made anew, before the horizon there is\n%s, was\n%s", got, before)
	}
	// And that was that.
	if gone := run(t, pool); !gone.Empty() || get[int](t, pool, "SELECT count(*) FROM rollup_stale") > 0 {
		t.Errorf("and then %s", text(gone))
	}
	// A late event at the horizon makes nothing stale that could not be made anew.
	exec(t, pool, "SELECT mark_stale((SELECT array_agg(id) FROM contacts WHERE phone = 'long'), ARRAY[$1::timestamptz])", shortFrom)
	if from := get[time.Time](t, pool, "SELECT min(from_slot) FROM rollup_stale"); !from.Equal(shortFrom) {
		t.Errorf("after an event at the horizon stale is what ended from %s on", from)
	}
}

// What is to be made anew of events that go is left as it is; the rest of it is still to be made anew.
func TestStaleRollupsOutliveEvents(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	instance := rolledUp(t, pool)
	set(t, pool, "", "typing_timeout", "30s") // which makes all stale
	exec(t, pool, "INSERT INTO rollup_stale VALUES ($1, $2, $3)", instance, shortFrom.AddDate(0, 0, -2), shortFrom.AddDate(0, 0, -1))
	before := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom)
	run(t, pool)
	if got := get[string](t, pool, "SELECT min(from_slot) || ' ' || max(until_slot) FROM rollup_stale"); got !=
		get[string](t, pool, "SELECT $1::timestamptz || ' ' || rolled_until FROM rollup_state", shortFrom) {
		t.Errorf("stale is %s", got)
	}
	rollUp(t, pool, instance, shortFrom, shortFrom.AddDate(0, 0, 5))
	if got := sums(t, pool, shortFrom.AddDate(0, 0, -4), shortFrom); got != before {
		t.Errorf("before the horizon there is\n%s, was\n%s", got, before)
	}
}

// What was rolled up of events while they were going is made anew.
func TestRollingUpMeanwhile(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := connect(t, url)
	instance := rolledUp(t, pool)
	fill(t, pool, "short", 1, shortFrom.Add(-12*time.Hour), shortFrom, 12*time.Hour)
	set(t, pool, "keeps", "retention", "forever")
	release, done := blocked(t, t.Context(), url, shortFrom.Add(-12*time.Hour))
	// The events of a are gone by now, but let them come back for a moment, as if they were not.
	exec(t, pool, `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT id, at, 0, 1 FROM contacts, generate_series($1::timestamptz - interval '8 min', $1::timestamptz - interval '1 min', '1 min') AS at
		WHERE phone LIKE 'visit%'`, shortFrom)
	rollUp(t, pool, instance, shortFrom, shortFrom.AddDate(0, 0, 5))
	if n := get[int](t, pool, "SELECT count(*) FROM rollup_stale"); n > 0 {
		t.Fatalf("%d ranges are still stale", n)
	}
	exec(t, pool, "DELETE FROM events AS e USING contacts AS c WHERE c.id = e.contact_id AND phone LIKE 'visit%' AND received_at < $1", shortFrom)
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var from, until time.Time
	if err := pool.QueryRow(t.Context(), "SELECT min(from_slot), max(until_slot) FROM rollup_stale").Scan(&from, &until); err != nil {
		t.Fatalf("nothing is stale: %v", err)
	}
	rollUp(t, pool, instance, from, until)
	some := sums(t, pool, shortFrom, shortFrom.AddDate(0, 0, 5))
	rollUp(t, pool, instance, shortFrom, shortFrom.AddDate(0, 0, 5))
	if everything := sums(t, pool, shortFrom, shortFrom.AddDate(0, 0, 5)); some != everything {
		t.Errorf("there is\n%s, want\n%s", some, everything)
	}
}

func TestOldRollupsGo(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	rolledUp(t, pool)
	from := shortFrom.AddDate(0, 0, -1)
	set(t, pool, "", "rollup_retention", "31d")
	kept := sums(t, pool, from, shortFrom)
	old := get[int64](t, pool, "SELECT count(*) FROM rollups WHERE slot < $1", from)
	planned := plan(t, pool)
	if i := planned.Instances[0]; i.Rollups != old || old == 0 || !i.RollupsFrom.Equal(from) {
		t.Errorf("planned is %s, want %d rollups", text(planned), old)
	}
	if gone := run(t, pool); text(gone) != text(planned) {
		t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(planned))
	}
	if n := get[int64](t, pool, "SELECT count(*) FROM rollups WHERE slot < $1", from); n != 0 {
		t.Errorf("%d old rollups are left", n)
	}
	if got := sums(t, pool, from, shortFrom); got != kept {
		t.Errorf("left is\n%s, want\n%s", got, kept)
	}
	// The same time for both.
	set(t, pool, "", "rollup_retention", "30d")
	planned = plan(t, pool)
	if gone := run(t, pool); text(gone) != text(planned) || gone.Instances[0].Rollups == 0 {
		t.Errorf("gone is\n%s, planned was\n%s", text(gone), text(planned))
	}
}
