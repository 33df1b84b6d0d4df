package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// tests runs a package's tests and takes away what they share: a PostgreSQL and the binary.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := pgtest.Main(t.m)
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"presencelog": main})
}

// TestScripts runs the command line like a user. Each script has its own databases, DATABASE_URL and, for those
// that say so, OTHER_URL; EMPTY_URL is one without a schema. Besides the usual commands there is "sql FILE", which runs
// statements in the database.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			vars := map[string]func(testing.TB) string{"DATABASE_URL": pgtest.URL}
			switch filepath.Base(file) {
			case "export.txtar":
				vars["OTHER_URL"] = pgtest.URL
			case "migrate.txtar":
				vars["EMPTY_URL"] = pgtest.Empty
			}
			urls := map[string]string{}
			for name, create := range vars {
				urls[name] = create(t)
			}
			testscript.Run(t, testscript.Params{
				Files: []string{file}, RequireExplicitExec: true, RequireUniqueNames: true,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"sql": runSQL},
				Setup: func(env *testscript.Env) error {
					for name, url := range urls {
						env.Setenv(name, url)
					}
					return nil
				},
			})
		})
	}
}

func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql FILE")
	}
	conn, err := pgx.Connect(context.Background(), ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), ts.ReadFile(args[0]))
	ts.Check(err)
}
