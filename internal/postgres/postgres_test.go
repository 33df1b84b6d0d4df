package postgres_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// pool connects to a database, like one process of many.
func pool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	p, err := postgres.Connect(t.Context(), url, "test", 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// objects lists what a user made in the database, apart from goose's own table.
func objects(t *testing.T, p *pgxpool.Pool) []string {
	t.Helper()
	return pgtest.Strings(t, p, `
		SELECT c.relkind::text || ' ' || c.relname FROM pg_class AS c
		WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'goose%'
		UNION ALL
		SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		UNION ALL
		SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname !~ '^_?goose'
		ORDER BY 1`)
}

func applied(t *testing.T, p *pgxpool.Pool) (n, of int) {
	t.Helper()
	list, err := postgres.Migrations(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Applied {
			n++
		}
	}
	return n, len(list)
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	p := pool(t, pgtest.Empty(t))
	if n, of := applied(t, p); n != 0 || of < 3 {
		t.Fatalf("%d of %d migrations are applied to an empty database", n, of)
	}
	if err := postgres.Up(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	whole := objects(t, p)
	if len(whole) < 10 {
		t.Fatalf("the schema is %q", whole)
	}
	if err := postgres.MakePartitionsAhead(t.Context(), p, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Up(t.Context(), p); err != nil {
		t.Fatalf("up twice: %v", err)
	}
	n, of := applied(t, p)
	if n != of {
		t.Fatalf("%d of %d migrations are applied", n, of)
	}
	for left := of - 1; left >= 0; left-- {
		if err := postgres.Down(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if n, _ := applied(t, p); n != left {
			t.Fatalf("%d migrations are applied, want %d", n, left)
		}
	}
	if rest := objects(t, p); len(rest) != 0 {
		t.Errorf("left after rolling back all migrations: %q", rest)
	}
	if err := postgres.Down(t.Context(), p); err == nil {
		t.Error("there was a migration left to roll back")
	}
	if err := postgres.Up(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if again := objects(t, p); !slices.Equal(again, whole) {
		t.Errorf("the schema is %q, was %q", again, whole)
	}
}

// Sums could not be filled again from events, so what they need is not rolled back.
func TestMigrateDownKeepsIntervals(t *testing.T) {
	t.Parallel()
	p := pool(t, pgtest.URL(t))
	if err := postgres.MakePartitionsAhead(t.Context(), p, time.Now()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, p, "INSERT INTO events (contact_id, received_at, seq, status) VALUES (1, now(), 0, 1)")
	var err error
	for err == nil {
		err = postgres.Down(t.Context(), p)
	}
	if !strings.Contains(err.Error(), "cannot be rolled back while there are events") {
		t.Error(err)
	}
	if n, _ := applied(t, p); n != 6 {
		t.Errorf("%d migrations are left", n)
	}
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	together(t, 6, func(int) error { return postgres.Up(t.Context(), pool(t, url)) })
	if n, of := applied(t, pool(t, url)); n != of {
		t.Errorf("%d of %d migrations are applied", n, of)
	}
	var rows int
	if err := pool(t, url).QueryRow(t.Context(), "SELECT count(*) FROM settings").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows of settings (%v)", rows, err)
	}
}

// together calls f from n goroutines at once.
func together(t *testing.T, n int, f func(int) error) {
	t.Helper()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	p := pool(t, pgtest.URL(t))
	if err := postgres.CheckSchema(t.Context(), p); err != nil {
		t.Fatalf("the schema that this program made: %v", err)
	}
	pgtest.Exec(t, p, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	for name, do := range map[string]func() error{
		"up":    func() error { return postgres.Up(t.Context(), p) },
		"down":  func() error { return postgres.Down(t.Context(), p) },
		"check": func() error { return postgres.CheckSchema(t.Context(), p) },
	} {
		var schema *postgres.SchemaError
		if err := do(); !errors.As(err, &schema) || schema.Have != 9999 || !strings.Contains(err.Error(), "upgrade presencelog") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckSchemaCreatesNothing(t *testing.T) {
	t.Parallel()
	p := pool(t, pgtest.Empty(t))
	var schema *postgres.SchemaError
	if err := postgres.CheckSchema(t.Context(), p); !errors.As(err, &schema) || schema.Have != 0 {
		t.Errorf("check of an empty database: %v", err)
	}
	if _, err := postgres.Migrations(t.Context(), p); err != nil {
		t.Error(err)
	}
	if tables := pgtest.Get[int](t, p, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
		t.Errorf("%d tables, want none", tables)
	}
}
