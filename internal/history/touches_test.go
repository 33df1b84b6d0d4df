package history_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// counted returns a pool on a new database with one connection for all. A connection reports what it has read now and then,
// and others may do so at any moment; what this one reports is complete when it is asked for.
func counted(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Connect(t.Context(), pgtest.URL(t), "reader", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// touched is how many rows counted's connection has read of each month's partition, from the table or its indexes.
func touched(t *testing.T, pool *pgxpool.Pool) map[string]int64 {
	t.Helper()
	pgtest.Exec(t, pool, "SELECT pg_stat_force_next_flush()")
	rows, err := pool.Query(t.Context(), `
		SELECT t.relname, t.seq_tup_read + t.idx_tup_fetch + sum(i.idx_tup_read)
		FROM pg_stat_user_tables AS t INNER JOIN pg_stat_user_indexes AS i USING (relid)
		WHERE t.relname LIKE 'events\_%' AND i.indexrelname LIKE '%pkey' GROUP BY t.relname, t.seq_tup_read, t.idx_tup_fetch`)
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int64{}
	var name string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { read[name] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestQueriesReadFewPages counts the rows that the database reads for each question: those of the contact, in the
// month that it is about. It must not depend on how many others there are.
func TestQueriesReadFewPages(t *testing.T) {
	t.Parallel()
	pool := counted(t)
	ctx := t.Context()
	const contacts, perMonth = 40, 1000
	var histories []presence.Event
	for month := time.January; month <= time.April; month++ {
		for i := range perMonth {
			at := time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 40 * time.Minute)
			for k := range contacts {
				status := []presence.Status{presence.Composing, presence.Unavailable}[i%2]
				at := at.Add(time.Duration(k) * time.Second)
				histories = append(histories, presence.Event{InstanceID: "i", Phone: fmt.Sprint("5544", k), Status: status, ReceivedAt: at})
			}
		}
	}
	for some := range slices.Chunk(histories, 2000) { // as they would have come: a merge lays each contact's side by side
		store(t, pool, some)
	}
	now := at("2026-04-25T00:00:00Z")
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE events"); err != nil {
		t.Fatal(err)
	}
	if err := intervals.Refresh(ctx, pool, presence.Now, 0); err != nil {
		t.Fatal(err)
	}

	reader := history.NewReader(pool, func() time.Time { return now })
	day := history.Range{From: at("2026-03-15T00:00:00Z"), To: at("2026-03-16T00:00:00Z")}
	month := history.Range{From: at("2026-03-01T12:00:00Z"), To: at("2026-03-28T12:00:00Z")}
	odd := history.Range{From: at("2026-03-15T00:07:00Z"), To: at("2026-03-16T00:03:00Z")}
	daily := history.Calendar{Range: day, Bucket: history.Hour, Zone: time.UTC}
	const inMonth, inDay = perMonth, 36
	const aLook = 3 * 32 * 140 // finding the active contacts: some ranges of pages that the BRIN index names
	for _, test := range []struct {
		name string
		most int64 // rows read of the month it is about
		ask  func(ctx context.Context) error
	}{
		{"timeline of a day", 10 * inDay, func(ctx context.Context) error {
			_, err := reader.Timeline(ctx, "i", "55447", day, time.Time{}, 1000)
			return err
		}},
		{"timeline of a month", 4 * inMonth, func(ctx context.Context) error {
			_, err := reader.Timeline(ctx, "i", "55447", month, time.Time{}, 10_000)
			return err
		}},
		{"a page of a timeline", 20 * 10, func(ctx context.Context) error {
			_, err := reader.Timeline(ctx, "i", "55447", month, time.Time{}, 10)
			return err
		}},
		{"durations of a contact", 10 * inDay, func(ctx context.Context) error {
			_, err := reader.Durations(ctx, "i", "55447", daily)
			return err
		}},
		{"events of a contact", 3 * inDay, func(ctx context.Context) error {
			_, _, err := reader.Events(ctx, "i", "55447", day, nil, false, 1000)
			return err
		}},
		{"durations of all contacts", aLook, func(ctx context.Context) error {
			_, err := reader.Durations(ctx, "i", "", daily)
			return err
		}},
		{"the same, cut within a quarter of an hour", 3*aLook + contacts*inDay, func(ctx context.Context) error {
			_, err := reader.Durations(ctx, "i", "", history.Calendar{Range: odd, Bucket: history.Hour, Zone: time.UTC})
			return err
		}},
		{"heat map", aLook, func(ctx context.Context) error {
			_, err := reader.Heatmap(ctx, "i", "", presence.MeasureTyping, day, time.UTC)
			return err
		}},
		{"top", aLook, func(ctx context.Context) error {
			_, err := reader.Top(ctx, "i", history.By(presence.MeasureTyping), day, 10)
			return err
		}},
	} {
		before := touched(t, pool)
		if err := test.ask(ctx); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for name, rows := range touched(t, pool) {
			switch read := rows - before[name]; {
			case name == "events_2026_03" && read > test.most:
				t.Errorf("%s: %d rows of %s were read, want at most %d", test.name, read, name, test.most)
			case name != "events_2026_03" && read > 0:
				t.Errorf("%s: %d rows of %s were read, which it is not about", test.name, read, name)
			}
		}
	}
}
