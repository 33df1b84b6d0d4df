package app_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Everything in the OpenAPI document is described, and lists are not null.
func TestOpenAPIIsComplete(t *testing.T) {
	t.Parallel()
	s := start(t)
	var doc struct {
		Servers  []any
		Webhooks map[string]any
		Paths    map[string]map[string]struct {
			Description string
			Tags        []string
			Parameters  []struct{ Name, Description string }
		}
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Ref         string `json:"$ref"`
					Description string
					Type        any
					Enum        []string
				}
			}
		}
	}
	if err := json.Unmarshal(s.do(t, request(t, http.MethodGet, s.url+"/openapi.json", nil)).body, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Servers) != 1 || doc.Webhooks["contactChanged"] == nil {
		t.Errorf("servers %v, webhooks %v", doc.Servers, doc.Webhooks)
	}
	if len(doc.Paths) < 15 || len(doc.Components.Schemas) < 20 {
		t.Fatalf("only %d paths, %d schemas", len(doc.Paths), len(doc.Components.Schemas))
	}
	for path, item := range doc.Paths {
		for _, op := range item {
			if op.Description == "" || len(op.Tags) != 1 {
				t.Errorf("%s: description %q, tags %q", path, op.Description, op.Tags)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: the parameter %s has no description", path, p.Name)
				}
			}
		}
	}
	for schema, of := range doc.Components.Schemas {
		for name, p := range of.Properties {
			if p.Ref == "" && p.Description == "" {
				t.Errorf("%s.%s has no description: internal/api/openapi.go has a table of them", schema, name)
			}
			if types, ok := p.Type.([]any); ok && types[0] == "array" {
				t.Errorf("%s.%s may be null", schema, name)
			}
			if name == "status" && schema != "Problem" && p.Ref == "" && len(p.Enum) != 5 {
				t.Errorf("%s.%s may be %q", schema, name, p.Enum)
			}
		}
	}
}

// The page for people has every operation, and needs no script and no other host.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.do(t, request(t, http.MethodGet, s.url+"/docs", nil))
	page := string(a.body)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("%s %v", a.Status, a.Header)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(s.do(t, request(t, http.MethodGet, s.url+"/openapi.json", nil)).body, &doc); err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			operations++
			if !strings.Contains(page, "<h2><code>"+strings.ToUpper(method)+" "+path+"</code></h2>") {
				t.Errorf("the page has no %s of %s", method, path)
			}
		}
	}
	if operations < 15 {
		t.Errorf("the document has %d operations", operations)
	}
	if member := "<code>columns.inChat.shares</code>"; !strings.Contains(page, member) {
		t.Errorf("the page has no %s, which may be absent from a response", member)
	}
	if bad := regexp.MustCompile(`<script|<link|src=|href="https?:|style="|ZgotmplZ`).FindString(page); bad != "" {
		t.Errorf("the page has %s", bad)
	}
	links := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < len(doc.Paths) {
		t.Errorf("only %d links within the page", len(links))
	}
	for _, link := range links {
		if !strings.Contains(page, `id="`+link[1]+`"`) {
			t.Errorf("the link to %s leads nowhere", link[1])
		}
	}
}
