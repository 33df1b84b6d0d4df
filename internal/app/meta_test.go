package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.do(t, request(t, http.MethodGet, s.url+"/openapi.json", nil))
	var doc map[string]any
	if err := json.Unmarshal(a.body, &doc); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", a.Status, err)
	}
	info := doc["info"].(map[string]any)
	if !strings.HasPrefix(doc["openapi"].(string), "3.1.") || info["title"] != "presencelog" || info["version"] != "v1.2.3" {
		t.Errorf("openapi %v, info %v", doc["openapi"], info)
	}
	paths := doc["paths"].(map[string]any)
	want := []string{
		"/v1/instances", "/v1/instances/{instanceId}/contacts", "/v1/instances/{instanceId}/contacts/{phone}",
		"/v1/instances/{instanceId}/contacts/{phone}/durations", "/v1/instances/{instanceId}/contacts/{phone}/events",
		"/v1/instances/{instanceId}/contacts/{phone}/timeline", "/v1/instances/{instanceId}/durations",
		"/v1/instances/{instanceId}/compare", "/v1/instances/{instanceId}/heatmap", "/v1/instances/{instanceId}/top",
		"/v1/now", "/v1/status", "/v1/instances/{instanceId}/contacts/{phone}/lanes", "/v1/instances/{instanceId}/contacts/{phone}/heatmap",
		"/v1/instances/{instanceId}/contacts/{phone}/habits", "/v1/instances/{instanceId}/contacts/{phone}/wait", "/v1/live",
	}
	for _, path := range want {
		if paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	ids := map[string]bool{}
	for path, item := range paths {
		for method, v := range item.(map[string]any) {
			name, op := method+" "+path, v.(map[string]any)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: operationId %q is missing or not its own", name, id)
			}
			ids[id] = true
			described(t, name, path, op)
		}
	}
	if schemes := resolve(doc, "#/components/securitySchemes/token"); schemes == nil {
		t.Error("the security scheme is missing")
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && resolve(doc, ref) == nil {
				t.Errorf("%s points nowhere", ref)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(doc)
}

// described checks the parameters and responses of one operation.
func described(t *testing.T, name, path string, op map[string]any) {
	t.Helper()
	params := map[string]bool{}
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := p.(map[string]any)
		if p["schema"] == nil || p["in"] == "path" && p["required"] != true {
			t.Errorf("%s: parameter %v", name, p)
		}
		if p["in"] == "path" {
			params[p["name"].(string)] = true
		}
	}
	// All but these are lists, and come in every form.
	single := regexp.MustCompile(`\{phone\}$|/lanes$|/v1/status$|/wait$`)
	if isList := !single.MatchString(path); strings.HasPrefix(path, "/v1") && path != "/v1/live" {
		hasFormat := slices.ContainsFunc(list, func(p any) bool { return p.(map[string]any)["name"] == "format" })
		ok := resolve(op, "#/responses/200/content").(map[string]any)
		if hasFormat != isList || (ok["text/csv"] != nil) != isList || (ok["application/x-ndjson"] != nil) != isList || ok["application/json"] == nil {
			t.Errorf("%s: the formats of its response are %v", name, ok)
		}
	}
	inPath := map[string]bool{}
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		inPath[m[1]] = true
	}
	if !maps.Equal(params, inPath) {
		t.Errorf("%s has the path parameters %v", name, slices.Sorted(maps.Keys(params)))
	}
	responses := op["responses"].(map[string]any)
	if responses["200"] == nil {
		t.Errorf("%s has no response 200", name)
	}
	for status, r := range responses {
		r := r.(map[string]any)
		content, _ := r["content"].(map[string]any)
		media := "application/problem+json"
		switch {
		case status == "200" && path == "/v1/live":
			media = "text/event-stream"
		case status == "200":
			media = "application/json"
		}
		if r["description"] == "" || content[media] == nil && strings.HasPrefix(path, "/v1") {
			t.Errorf("%s: the response %s is %v", name, status, r)
		}
	}
}

func resolve(doc map[string]any, ref string) any {
	var v any = doc
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// TestResponsesMatchOpenAPI compares the members of real responses with those of the schemas.
func TestResponsesMatchOpenAPI(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, example)
	s.postID(t, strings.TrimSuffix(body("i", "5544999999999", "PAUSED"), "}")+`,"x":{"y":1}}`)
	var doc map[string]any
	if err := json.Unmarshal(s.do(t, request(t, http.MethodGet, s.url+"/openapi.json", nil)).body, &doc); err != nil {
		t.Fatal(err)
	}
	schemaOf := func(path, status, media string) any {
		op := doc["paths"].(map[string]any)[path].(map[string]any)
		content := resolve(op, "#/get/responses/"+status+"/content").(map[string]any)
		return content[media].(map[string]any)["schema"]
	}
	const from = "from=2026-10-01T00:00:00Z"
	for path, queries := range map[string][2]string{ // one that is right, one that is wrong
		"/v1/instances":                                         {"", "limit=0"},
		"/v1/instances/{instanceId}/contacts":                   {"", "limit=0"},
		"/v1/instances/{instanceId}/contacts/{phone}":           {"", ""},
		"/v1/instances/{instanceId}/contacts/{phone}/timeline":  {from, "limit=0"},
		"/v1/instances/{instanceId}/contacts/{phone}/events":    {from + "&limit=1", "limit=0"},
		"/v1/instances/{instanceId}/contacts/{phone}/durations": {from + "&bucket=month", "bucket=x"},
		"/v1/instances/{instanceId}/durations":                  {from + "&bucket=month", "bucket=x"},
		"/v1/instances/{instanceId}/compare":                    {from + "&phone=5544999999999&phone=5544999999999", "phone=1"},
		"/v1/instances/{instanceId}/heatmap":                    {from, "measure=x"},
		"/v1/instances/{instanceId}/top":                        {from, "by=x"},
		"/v1/instances/{instanceId}/contacts/{phone}/lanes":     {from, "columns=0"},
		"/v1/instances/{instanceId}/contacts/{phone}/wait":      {"timeout=1ms", "until=x"},
		"/v1/instances/{instanceId}/contacts/{phone}/heatmap":   {from, "measure=x"},
		"/v1/instances/{instanceId}/contacts/{phone}/habits":    {from, "last=x"},
		"/v1/now":    {"", "sort=x"},
		"/v1/status": {"", ""},
	} {
		real := strings.NewReplacer("{instanceId}", "i", "{phone}", "5544999999999").Replace(path)
		for i, status := range []string{"200", "422"} {
			if queries[i] == "" && status == "422" {
				continue
			}
			address := real + "?" + queries[i]
			a := s.do(t, request(t, http.MethodGet, s.url+address, nil))
			if fmt.Sprint(a.StatusCode) != status {
				t.Errorf("%s: %s", address, a.Status)
				continue
			}
			var v any
			if err := json.Unmarshal(a.body, &v); err != nil {
				t.Fatal(err)
			}
			conform(t, doc, schemaOf(path, status, a.Header.Get("Content-Type")), v, address)
		}
	}
}

// conform checks a value's types and members against a schema: as much of JSON Schema as huma writes.
func conform(t *testing.T, doc map[string]any, schema, v any, where string) {
	t.Helper()
	m := schema.(map[string]any)
	if ref, ok := m["$ref"].(string); ok {
		m = resolve(doc, ref).(map[string]any)
	}
	var types []string
	switch kind := m["type"].(type) {
	case string:
		types = []string{kind}
	case []any:
		for _, k := range kind {
			types = append(types, k.(string))
		}
	}
	is := "null"
	switch v := v.(type) {
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case []any:
		is = "array"
		for i, item := range v {
			conform(t, doc, m["items"], item, fmt.Sprintf("%s[%d]", where, i))
		}
	case map[string]any:
		is = "object"
		properties, _ := m["properties"].(map[string]any)
		for name, item := range v {
			if properties[name] != nil {
				conform(t, doc, properties[name], item, where+"."+name)
			} else if m["additionalProperties"] != true {
				t.Errorf("%s.%s is not in the schema", where, name)
			}
		}
		required, _ := m["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				t.Errorf("%s.%s is missing", where, name)
			}
		}
	case float64:
		is = "number"
		if v == float64(int64(v)) && slices.Contains(types, "integer") {
			is = "integer"
		}
	}
	if len(types) > 0 && !slices.Contains(types, is) {
		t.Errorf("%s is %s, the schema says %v", where, is, types)
	}
}

func TestReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.AwayAfter = 0 })
	get := func(path string) response { return s.do(t, request(t, http.MethodGet, s.url+path, nil)) }
	ok := func(path string) bool {
		a := get(path)
		return a.StatusCode == http.StatusOK && strings.TrimSpace(string(a.body)) == `{"status":"ok"}` && a.Header.Get("Content-Type") == "application/json"
	}
	if !ok("/healthz") || !ok("/readyz") {
		t.Fatal("a service that has just started is not ready")
	}
	s.postID(t, body("i", "p", "COMPOSING"))

	away(t, s, true)
	pgtest.Eventually(t, "readyz tells that the database is unavailable", func() bool { return get("/readyz").StatusCode == http.StatusServiceUnavailable })
	a := get("/readyz")
	refused(t, a, http.StatusServiceUnavailable)
	if a.Header.Get("Retry-After") == "" {
		t.Error("readyz does not say when to ask again")
	}
	if !ok("/healthz") {
		t.Error("healthz fails when only the database is unavailable")
	}
	for _, path := range []string{"/v1/instances", "/v1/instances/i/contacts/p"} {
		refused(t, get(path), http.StatusServiceUnavailable)
	}
	a = s.post(t, body("i", "p", "PAUSED")) // which no spool takes
	refused(t, a, http.StatusServiceUnavailable)
	if a.Header.Get("Retry-After") == "" {
		t.Error("the receiver does not say when to send again")
	}

	away(t, s, false)
	pgtest.Eventually(t, "readyz tells that the database is back", func() bool { return ok("/readyz") })
	pgtest.Eventually(t, "events are stored again", func() bool { return s.post(t, body("i", "p", "PAUSED")).StatusCode == http.StatusOK })
}

// away makes the service's database refuse everybody, or lets them in again.
func away(t *testing.T, s *service, away bool) {
	t.Helper()
	config := s.pool.Config().ConnConfig.Copy()
	name := config.Database
	config.Database = "postgres"
	admin, err := connect(t, config)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, admin, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, !away))
	if away {
		pgtest.Exec(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	}
}

// Connections that are open say nothing of new ones: after an upgrade below the running server, those load nothing.
func TestReadinessIncludesWhatMaintenanceNeeds(t *testing.T) {
	t.Parallel()
	s := start(t)
	ready := func() int { return s.do(t, request(t, http.MethodGet, s.url+"/readyz", nil)).StatusCode }
	if got := ready(); got != http.StatusOK {
		t.Fatalf("at first: %d", got)
	}
	pgtest.Exec(t, s.pool, "ALTER EXTENSION plpgsql DROP LANGUAGE plpgsql; ALTER LANGUAGE plpgsql RENAME TO gone")
	pgtest.Eventually(t, "it is not ready", func() bool { return ready() == http.StatusServiceUnavailable })
	s.postID(t, body("i", "p", "COMPOSING")) // events are still accepted
	pgtest.Exec(t, s.pool, "ALTER LANGUAGE gone RENAME TO plpgsql")
	pgtest.Eventually(t, "it is ready again", func() bool { return ready() == http.StatusOK })
}
