package docs_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// macros are what Grafana puts in place of what it knows, here for three weeks of October.
var macros = []struct {
	name *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\$__timeFilter\(([^()]+)\)`), "$1 BETWEEN '2026-10-10T03:00:00Z' AND '2026-10-31T02:59:59.999Z'"},
	{regexp.MustCompile(`\$__timeFrom\(\)`), "'2026-10-10T03:00:00Z'"},
	{regexp.MustCompile(`\$__timeTo\(\)`), "'2026-10-31T02:59:59.999Z'"},
	{regexp.MustCompile(`\$\{instance:sqlstring\}`), "'another','" + simulate.InstanceIDs(1, 1)[0] + "'"},
}

// TestGrafanaDashboard asks what the dashboard asks: in SQL as an analyst, of Prometheus only what there is.
func TestGrafanaDashboard(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	month(t, pool)
	conn := connect(t, pool)
	typesNow(t, pool)
	content, err := os.ReadFile("grafana/dashboards/presencelog.json")
	if err != nil {
		t.Fatal(err)
	}
	type target struct{ RawSQL, Expr, Format string }
	var dashboard struct {
		Templating struct{ List []struct{ Query string } }
		Panels     []struct {
			Title   string
			Targets []target
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	var questions int
	ask := func(title, sql, format string) {
		questions++
		for _, m := range macros {
			sql = m.name.ReplaceAllString(sql, m.with)
		}
		if strings.Contains(sql, "$") {
			t.Errorf("%s: what is left to replace: %s", title, sql)
			return
		}
		results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Errorf("%s: %v\n%s", title, err, sql)
			return
		}
		r := results[0]
		if len(r.Rows) == 0 {
			t.Errorf("%s gives nothing:\n%s", title, sql)
		} else if name := r.FieldDescriptions[0].Name; format == "time_series" && name != "time" {
			t.Errorf("%s: the first column of a time series is %s", title, name)
		}
	}
	for _, v := range dashboard.Templating.List {
		ask("variable", v.Query, "table")
	}
	recorder := httptest.NewRecorder()
	m := metrics.New()
	m.Watch(func() int { return 0 }, func() bool { return true }, func() int64 { return 0 }, func() time.Time { return time.Time{} })
	m.Refuse("secret", "")
	m.Count([]presence.Event{{Status: presence.Composing}}, "stored")
	m.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			if target.RawSQL != "" {
				ask(p.Title, target.RawSQL, target.Format)
				continue
			}
			names := regexp.MustCompile(`presencelog_\w+`).FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s queries nothing: %q", p.Title, target.Expr)
			}
			for _, name := range names {
				if !strings.Contains(recorder.Body.String(), strings.TrimSuffix(name, "_bucket")) {
					t.Errorf("%s: there is no metric %s", p.Title, name)
				}
			}
		}
	}
	if questions < 6 {
		t.Errorf("the dashboard asks %d questions", questions)
	}
}
