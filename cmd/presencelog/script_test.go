package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
// that say so, OTHER_URL; EMPTY_URL is one without a schema.
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
