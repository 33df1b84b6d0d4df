package app_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestUnexpectedErrorIsLoggedOnceAndHidden(t *testing.T) {
	t.Parallel()
	var log pgtest.Output
	s := start(t, func(c *app.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	s.postID(t, body("i", "5544999999999", "COMPOSING"))
	pgtest.Exec(t, s.pool, "ALTER TABLE instances RENAME TO gone")
	for _, test := range []struct{ path, route string }{
		{"/v1/instances", "GET /v1/instances"},
		{"/v1/instances/i/contacts/5544999999999/timeline", "GET /v1/instances/{instanceId}/contacts/{phone}/timeline"},
		{"/v1/instances/i/top?format=csv", "GET /v1/instances/{instanceId}/top"},
	} {
		a := s.do(t, request(t, http.MethodGet, s.url+test.path, nil))
		refused(t, a, http.StatusInternalServerError)
		id := a.Header.Get("X-Request-Id")
		if id == "" {
			t.Fatalf("%s: the response has no X-Request-Id", test.path)
		}
		messages := 0
		for line := range strings.Lines(log.String()) {
			var message struct {
				Level, Method, Route, Error string
				RequestID                   string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(line), &message); err != nil || message.RequestID != id {
				continue
			}
			messages++
			if message.Level != "ERROR" || message.Method != "GET" || message.Route != test.route || !strings.Contains(message.Error, "instances") {
				t.Errorf("%s: logged %s", test.path, line)
			}
			if strings.Contains(line, "5544999999999") {
				t.Errorf("the log names a contact: %s", line)
			}
		}
		if messages != 1 {
			t.Errorf("%s: %d messages have the request id, want 1: %s", test.path, messages, &log)
		}
	}
}

func TestRequestIDOfAProxyIsKept(t *testing.T) {
	t.Parallel()
	s := start(t)
	for sent, kept := range map[string]bool{"a1b2-c3.d_4": true, "": false, "two words": false, strings.Repeat("x", 65): false, `"quoted"`: false} {
		r := request(t, http.MethodGet, s.url+"/v1/instances", nil)
		r.Header.Set("X-Request-Id", sent)
		if got := s.do(t, r).Header.Get("X-Request-Id"); got == "" || (got == sent) != kept {
			t.Errorf("X-Request-Id %q: the response has %q", sent, got)
		}
	}
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens = []string{"hook-token"} })
	get := func(path string) response { return s.do(t, request(t, http.MethodGet, s.url+path, nil)) }
	for range 2 {
		r := request(t, http.MethodPost, s.url+"/webhooks/zapi/hook-token", strings.NewReader(body("i", "5544999999999", "COMPOSING")))
		idOf(t, s.do(t, r))
	}
	get("/v1/instances/i/contacts/5544999999999")
	get("/v1/instances/nobody/contacts/5544999999999")
	get("/made/up/path")
	get("/v1/made/up")
	s.do(t, request(t, "MADEUP", s.url+"/v1/instances", nil))

	text := string(get("/metrics").body)
	for _, line := range []string{
		`presencelog_http_requests_total{method="POST",route="/webhooks/zapi/{token}",status="200"} 2`,
		`presencelog_http_requests_total{method="GET",route="/v1/instances/{instanceId}/contacts/{phone}",status="200"} 1`,
		`presencelog_http_requests_total{method="GET",route="/v1/instances/{instanceId}/contacts/{phone}",status="404"} 1`,
		`presencelog_http_requests_total{method="GET",route="other",status="404"} 2`,
		`presencelog_http_requests_total{method="other",route="/v1/instances",status="405"} 1`,
		`presencelog_http_request_duration_seconds_count{method="POST",route="/webhooks/zapi/{token}"} 2`,
		`presencelog_build_info{goversion="go`,
		`version="v1.2.3"} 1`,
		`presencelog_db_pool_connections{pool="writer",state="acquired"} `,
		`presencelog_db_pool_max_connections{pool="reader"} `,
		`presencelog_db_pool_waits_total{pool="reader"} `,
		`presencelog_db_pool_wait_seconds_total{pool="reader"} `,
		`presencelog_retention_runs_total{result="error"} 0`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	for _, private := range []string{"5544999999999", "hook-token", "made", "MADEUP", "nobody"} {
		if strings.Contains(text, private) {
			t.Errorf("the metrics name %q", private)
		}
	}
	// Retention runs once at the start.
	pgtest.Eventually(t, "a retention run is counted", func() bool {
		text := string(get("/metrics").body)
		return strings.Contains(text, `presencelog_retention_runs_total{result="success"} 1`) &&
			regexp.MustCompile(`presencelog_retention_last_success_timestamp_seconds [1-9]`).MatchString(text)
	})
}

func TestMetricNamesFollowConventions(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "p", "COMPOSING"))
	text := s.do(t, request(t, http.MethodGet, s.url+"/metrics", nil)).body
	if !bytes.Contains(text, []byte("\npresencelog_events_total{")) {
		t.Fatalf("the metrics are %s", text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "presencelog_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The README's table has every metric, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) {
		c.SpoolDir, c.SpoolBytes, c.Limits = t.TempDir(), 1<<20, ingest.Limits{InstancesPerHour: 1}
	})
	// Some come with the first event of their kind.
	s.postID(t, body("i", "p", "COMPOSING"))
	refused(t, s.post(t, body("i", "p", "LISTENING")), http.StatusUnprocessableEntity)
	refused(t, s.post(t, body("j", "p", "COMPOSING")), http.StatusTooManyRequests)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n| metric | labels | meaning |\n")
	table, _, ends := strings.Cut(table, "\n\n")
	if !found || !ends {
		t.Fatal("the README has no table of metrics")
	}
	documented := map[string]bool{}
	for line := range strings.Lines(table) {
		names, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, name := range regexp.MustCompile("`[^`]+`").FindAllString(names, -1) {
			documented[strings.Replace(strings.Trim(name, "`"), "…", "presencelog_db_pool", 1)] = true
		}
	}
	exported := map[string]bool{}
	text := string(s.do(t, request(t, http.MethodGet, s.url+"/metrics", nil)).body)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (presencelog_\w+) `).FindAllStringSubmatch(text, -1) {
		exported[m[1]] = true
	}
	if !maps.Equal(exported, documented) {
		t.Errorf("the metrics are\n%q,\nthe README has\n%q", slices.Sorted(maps.Keys(exported)), slices.Sorted(maps.Keys(documented)))
	}
}
