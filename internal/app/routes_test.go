package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// protection is the scope that each pattern of the service needs, "" for none. A pattern without a method is a fallback.
var protection = map[string]auth.Scope{
	"POST /webhooks/zapi": auth.Webhook, "POST /webhooks/zapi/{token}": auth.Webhook, "/webhooks/zapi": "", "/webhooks/zapi/{token}": "",
	"GET /session": auth.Read, "POST /session": "", "DELETE /session": "", "/session": "",
	"/v1": auth.Read, "/v1/": auth.Read, "/mcp": auth.Read, "/v1/live": auth.Live, "/v1/instances/{instanceId}/contacts/{phone}/wait": auth.Live,
	"DELETE /v1/instances/{instanceId}/contacts/{phone}": auth.Erase,
	"GET /openapi.json": "", "/openapi.json": "", "GET /healthz": "", "/healthz": "", "GET /readyz": "", "/readyz": "", "GET /metrics": "", "/metrics": "",
	"/": "", "GET /{$}": "", "/{$}": "", "GET /docs": "", "/docs": "", "GET /assets/VERSION/{name}": "", "/assets/VERSION/{name}": "",
	// The page's views, which read the API.
	"GET /contact": "", "/contact": "", "GET /instance": "", "/instance": "", "GET /instances": "", "/instances": "", "GET /setup": "", "/setup": "",
	"GET /status": "", "/status": "",
}

// required are the query parameters that operations do not do without.
var required = map[string]string{
	"/v1/instances/{instanceId}/compare":               "?phone=p&phone=q",
	"/v1/instances/{instanceId}/contacts/{phone}/wait": "?until=unavailable&timeout=1ms",
}

type operation struct {
	method, path string
	parameters   []map[string]any
	scope        auth.Scope
}

// operations are what openapi.json describes.
func operations(t *testing.T, s *service) []operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct{ Parameters []map[string]any }
	}
	if err := jsonInto(s.do(t, request(t, http.MethodGet, s.url+"/openapi.json", nil)), &doc); err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, methods := range doc.Paths {
		for method, o := range methods {
			method = strings.ToUpper(method)
			scope := auth.Read
			for _, pattern := range []string{path, method + " " + path} {
				if special, ok := protection[pattern]; ok {
					scope = special
				}
			}
			all = append(all, operation{method, path, o.Parameters, scope})
		}
	}
	if len(all) < 14 {
		t.Fatalf("only %d operations", len(all))
	}
	return all
}

func (o operation) at(instance, phone string) string {
	return strings.NewReplacer("{instanceId}", url.PathEscape(instance), "{phone}", url.PathEscape(phone)).Replace(o.path) + required[o.path]
}

// fetch sends a request and reads what there is of its response, which need not end.
func (s *service) fetch(t *testing.T, method, path, token string) response {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		time.AfterFunc(50*time.Millisecond, cancel)
	}
	body, _ := io.ReadAll(res.Body)
	return response{res, body}
}

// guarded is a service with instances i and hidden, and tokens of all kinds.
func guarded(t *testing.T) (s *service, tokens map[string]string) {
	t.Helper()
	s = start(t, func(c *app.Config) { c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"environment"} })
	now := presence.Now().Add(-time.Minute)
	var lines strings.Builder
	for _, instance := range []string{"i", "hidden"} {
		for _, phone := range []string{"p", "q", "55" + instance} {
			lines.WriteString(record(instance, phone, "COMPOSING", now))
		}
	}
	s.load(t, lines.String())
	tokens = map[string]string{"": "", "wrong": "wrong", "hook": "hook"}
	create := func(name string, token auth.Token) {
		token.Name = name
		secret, err := auth.Create(t.Context(), s.pool, token)
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = secret
	}
	past := now.Add(-time.Hour)
	all := []auth.Scope{auth.Admin}
	create("expired", auth.Token{Scopes: all, ExpiresAt: &past})
	create("revoked", auth.Token{Scopes: all})
	create("of i", auth.Token{Scopes: all, Instances: []string{"i"}})
	create("of another", auth.Token{Scopes: all, Instances: []string{"another"}})
	for _, scope := range auth.Scopes() {
		create(string(scope), auth.Token{Scopes: []auth.Scope{scope}})
	}
	if err := auth.Revoke(t.Context(), s.pool, "revoked"); err != nil {
		t.Fatal(err)
	}
	if err := s.Auth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, tokens
}

// A new route has to be entered here with the scope that it needs.
func TestEveryRouteIsProtected(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, pattern := range s.Patterns() {
		pattern = regexp.MustCompile(`/assets/[^/]+/`).ReplaceAllString(pattern, "/assets/VERSION/")
		if _, known := protection[pattern]; !known {
			t.Errorf("which scope does %q need? Enter it in the table protection", pattern)
		}
	}
}

// Every operation × every kind of token.
func TestEveryOperationRequiresItsScope(t *testing.T) {
	t.Parallel()
	s, tokens := guarded(t)
	for _, o := range operations(t, s) {
		for name, token := range tokens {
			if o.method != http.MethodGet && name != "" && (name == "admin" || name == string(o.scope) || name == "of i") {
				continue // which would change something
			}
			want := http.StatusOK
			switch {
			case slices.Contains([]string{"", "wrong", "expired", "revoked"}, name):
				want = http.StatusUnauthorized
			case name == "hook" || slices.Contains(auth.Scopes(), auth.Scope(name)) && name != "admin" && name != string(o.scope):
				want = http.StatusForbidden
			case name == "of another" && strings.Contains(o.path, "{instanceId}"):
				want = http.StatusNotFound
			}
			a := s.fetch(t, o.method, o.at("i", "p"), token)
			if a.StatusCode != want {
				t.Errorf("%s %s with the token %q: %s %.200s, want %d", o.method, o.path, name, a.Status, a.body, want)
			}
			if want != http.StatusOK {
				refused(t, a, want)
			}
		}
	}
	for name, want := range map[string]int{"": 401, "wrong": 401, "expired": 401, "revoked": 401, "hook": 403, "live": 403, "erase": 403} {
		refused(t, s.fetch(t, http.MethodPost, "/mcp", tokens[name]), want)
	}
	for _, token := range []string{"", "wrong", tokens["expired"], tokens["revoked"], tokens["read"], tokens["admin"]} {
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body("i", "p", "COMPOSING")))
		req.Header.Set("Z-Api-Token", token)
		refused(t, s.do(t, req), http.StatusUnauthorized)
	}
}

// To a token of instance i, others do not exist: not in lists, filters, cursors or errors.
func TestInstanceIsolation(t *testing.T) {
	t.Parallel()
	s, tokens := guarded(t)
	bound := tokens["of i"]
	clean := func(a response, instance string) string {
		return strings.ReplaceAll(regexp.MustCompile(`"now":"[^"]*"`).ReplaceAllString(string(a.body), ""), instance, "X")
	}
	for _, o := range operations(t, s) {
		for _, format := range []string{"", "&format=csv", "&format=ndjson", "&limit=0", "&nonsense=1"} {
			query := required[o.path]
			if format != "" {
				query = "?" + strings.TrimPrefix(query, "?") + format
			}
			at := func(instance string) string {
				path, _, _ := strings.Cut(o.at(instance, "p"), "?")
				return path + query
			}
			if !strings.Contains(o.path, "{instanceId}") {
				if a := s.fetch(t, o.method, at("i"), bound); strings.Contains(string(a.body), "hidden") {
					t.Errorf("%s tells of another instance: %s", at("i"), a.body)
				}
				continue
			}
			there, nowhere := s.fetch(t, o.method, at("hidden"), bound), s.fetch(t, o.method, at("nowhere"), bound)
			if there.StatusCode != http.StatusNotFound || clean(there, "hidden") != clean(nowhere, "nowhere") {
				t.Errorf("%s %s: %s %s\nfor one that is not there: %s %s", o.method, at("hidden"), there.Status, there.body, nowhere.Status, nowhere.body)
			}
		}
	}
	// Filters.
	there, nowhere := s.fetch(t, "GET", "/v1/now?instance=hidden", bound), s.fetch(t, "GET", "/v1/now?instance=nowhere", bound)
	if there.StatusCode != http.StatusNotFound || clean(there, "hidden") != clean(nowhere, "nowhere") {
		t.Errorf("/v1/now?instance=hidden: %s %s", there.Status, there.body)
	}
	for search, want := range map[string]int{"55hidden": 0, "55i": 1, "p": 1} {
		var page struct{ Contacts []presence.Contact }
		if a := s.fetch(t, "GET", "/v1/now?status=UNAVAILABLE,PAUSED,COMPOSING&search="+search, bound); json.Unmarshal(a.body, &page) != nil || len(page.Contacts) != want {
			t.Errorf("a search for %s: %s %s, want %d contacts", search, a.Status, a.body, want)
		}
	}
	// Cursors that another token got.
	for _, list := range []string{"/v1/instances?limit=1", "/v1/now?limit=1"} {
		var page struct{ NextCursor *string }
		if a := s.fetch(t, "GET", list, tokens["read"]); json.Unmarshal(a.body, &page) != nil || page.NextCursor == nil {
			t.Fatalf("%s: no cursor in %s", list, a.body)
		}
		if a := s.fetch(t, "GET", list+"&cursor="+*page.NextCursor, bound); strings.Contains(string(a.body), "hidden") {
			t.Errorf("%s with the cursor of another token: %s", list, a.body)
		}
	}
	// Paths that are more than they seem.
	for _, path := range []string{
		"/v1/instances/i/../hidden/contacts", "/v1/instances/i/%2e%2e/hidden/contacts", "//v1/instances/hidden/contacts", "/v1/./instances/hidden/contacts",
		"/v1/instances/hidden%2fcontacts", "/v1/instances//hidden/contacts", "/v1/instances/i%00/contacts", "/v1/instances/HIDDEN/contacts",
		"/V1/instances/hidden/contacts", "/v1/instances/hidden/contacts/", "/v1/instances/i/contacts/..%2f..%2fhidden", "/v1/instances/hidden;x/contacts",
	} {
		for _, token := range []string{"", bound} {
			if a := s.fetch(t, "GET", path, token); a.StatusCode == http.StatusOK {
				t.Errorf("%s: %s %s", path, a.Status, a.body)
			}
		}
	}
}

// SQL, and what else means something somewhere, in every string that a client may give.
func TestInjectionInStrings(t *testing.T) {
	t.Parallel()
	s, tokens := guarded(t)
	for _, evil := range []string{
		"'; DROP TABLE events; --", "' OR '1'='1", `\'; SELECT pg_sleep(60) --`, "$1", "%' OR true --", "{\"a\":1}", "a\r\nSet-Cookie: x=1", "\u202e\x1b[2J",
		"../../etc/passwd", "<script>alert(1)</script>", strings.Repeat("x", 3000),
	} {
		for _, o := range operations(t, s) {
			if o.method != http.MethodGet {
				continue
			}
			for _, p := range o.parameters {
				path := o.at("i", "p")
				switch p["in"] {
				case "path":
					path = strings.ReplaceAll(o.path, "{"+fmt.Sprint(p["name"])+"}", url.PathEscape(evil))
					path = strings.NewReplacer("{instanceId}", "i", "{phone}", "p").Replace(path) + required[o.path]
				case "query":
					base, query, _ := strings.Cut(path, "?")
					values, _ := url.ParseQuery(query)
					values.Set(fmt.Sprint(p["name"]), evil)
					path = base + "?" + values.Encode()
				default:
					continue
				}
				a := s.fetch(t, "GET", path, tokens["admin"])
				if a.StatusCode >= 500 || a.Header.Get("Set-Cookie") != "" {
					t.Errorf("%s: %s %s", path, a.Status, a.body)
				}
				if a.StatusCode >= 400 {
					refused(t, a, a.StatusCode)
				}
			}
		}
	}
	if n := pgtest.Get[int](t, s.pool, "SELECT count(*) FROM events"); n != 6 {
		t.Errorf("%d events are left", n)
	}
}

func TestResponsesHaveSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.APITokens = []string{"secret"} })
	asset := regexp.MustCompile(`/assets/[^"]+`).FindString(string(s.fetch(t, "GET", "/", "").body))
	if asset == "" {
		t.Fatal("the page has no assets")
	}
	for _, path := range []string{"/", asset, "/docs", "/v1/instances", "/v1/nothing", "/session", "/healthz", "/openapi.json", "/nothing"} {
		for _, token := range []string{"", "secret"} {
			h := s.fetch(t, "GET", path, token).Header
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" ||
				!strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("%s: %v", path, h)
			}
			if (strings.HasPrefix(path, "/v1") || path == "/session") && h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be kept: %v", path, h)
			}
		}
	}
}
