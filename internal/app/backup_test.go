//go:build backup

package app_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/analyst"
	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// TestBackup runs the commands of docs/analytics.md: a dump of one embedded server becomes the database of another, below a
// service that runs. It needs PostgreSQL's client programs.
func TestBackup(t *testing.T) {
	from, to := pgtest.Server(t, nil), pgtest.Server(t, nil)
	old := start(t, func(c *app.Config) { c.Database = from.ConnString() })
	loc := time.FixedZone("", 0)
	now := presence.Now().Add(-time.Hour) // so that nothing lasts
	traffic := simulate.Config{Seed: 1, Contacts: 40, Instances: simulate.InstanceIDs(1, 2), Location: loc}
	events, err := traffic.History(now.AddDate(0, 0, -7), now, traffic.NaturalEvents(now.AddDate(0, 0, -7), now))
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Collect(events)
	if _, err := ingest.NewStore(old.pool).Merge(t.Context(), list[:len(list)/2]); err != nil {
		t.Fatal(err)
	}
	if err := intervals.Refresh(t.Context(), old.pool, presence.Now, 0); err != nil { // an ErrBusy is as good
		t.Log(err)
	}
	if _, err := ingest.NewStore(old.pool).Merge(t.Context(), list[len(list)/2:]); err != nil {
		t.Fatal(err)
	}
	name := analyst.Analyst{Name: "ana's", Instances: simulate.InstanceIDs(1, 1)}
	login := analyst.Login{Password: "it's", StatementTimeout: time.Minute}
	if err := analyst.Create(t.Context(), old.pool, name, login); err != nil {
		t.Fatal(err)
	}
	want := everything(t, old.pool)

	commands := shellBlocks(t, "../../docs/analytics.md", "## Back up and restore")
	if len(commands) != 3 || !strings.HasPrefix(commands[0], "export PGHOST") {
		t.Fatalf("the commands are %q", commands)
	}
	dir := t.TempDir()
	shell(t, dir, from, commands[1])
	service := start(t, func(c *app.Config) {
		c.Database, c.SpoolDir, c.SpoolBytes, c.AwayAfter = to.ConnString(), t.TempDir(), 1<<20, 0
	})
	const body = `{"type":"PresenceChatCallback","phone":"%s","status":"COMPOSING","instanceId":"new"}`
	service.postID(t, fmt.Sprintf(body, "before"))
	shell(t, dir, to, commands[2])
	service.pool.Reset()

	got := everything(t, service.pool)
	for sql := range want {
		if !slices.Equal(got[sql], want[sql]) {
			t.Errorf("%s has other rows: %d, was %d", sql, len(got[sql]), len(want[sql]))
		}
	}
	// The service still works, and notices that it has other contacts now.
	service.postID(t, fmt.Sprintf(body, "before"))
	pgtest.Eventually(t, "the event is stored", func() bool {
		var n int
		err := service.pool.QueryRow(t.Context(), "SELECT count(*) FROM analytics.events WHERE instance_id = 'new' AND phone = 'before'").Scan(&n)
		return err == nil && n == 1
	})
	if res := service.do(t, request(t, http.MethodGet, service.url+"/v1/instances", nil)); res.StatusCode != http.StatusOK {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}

	// On the new server the role can be created again, and the printed command works.
	if err := analyst.Create(t.Context(), service.pool, name, login); err != nil {
		t.Fatal(err)
	}
	url, err := analyst.URL(to.ConnString(), name.Name, login.Password)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "psql", url, "-Atc", "SELECT DISTINCT instance_id FROM daily").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != name.Instances[0] {
		t.Errorf("psql: %v: %s", err, out)
	}
}

// everything returns the rows of every view and of every table that does not change by itself.
func everything(t *testing.T, pool *pgxpool.Pool) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, from := range append(pgtest.Strings(t, pool, "SELECT 'analytics.' || viewname FROM pg_views WHERE schemaname = 'analytics'"),
		"analytics.daily('America/Sao_Paulo')", "analytics.spans('-infinity', 'infinity')", "settings", "analysts", "instances", "contacts") {
		columns := "t::text"
		switch from {
		case "analytics.spans", "analytics.spans('-infinity', 'infinity')": // the last span still lasts, and grows
			columns = "(t.phone, t.status, t.started_at, t.ended_at, t.confirmed_seconds, t.events)::text"
		}
		all[from] = pgtest.Strings(t, pool, "SELECT "+columns+" FROM "+from+" AS t ORDER BY 1")
		if len(all[from]) == 0 {
			t.Errorf("%s is empty", from)
		}
	}
	return all
}

// shellBlocks returns the blocks of shell commands of a section of a document.
func shellBlocks(t *testing.T, file, section string) (list []string) {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "\n"+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		list = append(list, block[1])
	}
	return list
}

func shell(t *testing.T, dir string, server *embedded.Server, commands string) {
	t.Helper()
	config, err := pgxpool.ParseConfig(server.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PGHOST="+config.ConnConfig.Host, "PGUSER=postgres")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERROR") {
		t.Fatalf("%s%s\n%v", commands, out, err)
	}
}
