package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/presence"
)

// bearer adds a token to requests.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// connectMCP opens a session as a language model's host does.
func (s *service) connectMCP(t *testing.T, token string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: s.url + "/mcp", HTTPClient: &http.Client{Transport: bearer(token)}, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// call calls a tool and reads its result into v; it returns what the tool says is wrong.
func call(t *testing.T, session *mcp.ClientSession, tool string, arguments map[string]any, v any) string {
	t.Helper()
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if res.IsError {
		return text
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%s: %v in %s", tool, err, text)
	}
	return ""
}

func TestMCP(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.APITokens, c.WebhookTokens = []string{"all"}, []string{"hook"} })
	s.load(t, example)
	s.load(t, record("j", "p", "COMPOSING", presence.Now().Add(-time.Second))+record("k", "p", "RECORDING", presence.Now().Add(-time.Second)))
	all := s.connectMCP(t, "all")
	tools, err := all.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
		if tool.Annotations == nil || !tool.Annotations.ReadOnlyHint || tool.Description == "" {
			t.Errorf("%s: %+v", tool.Name, tool.Annotations)
		}
	}
	slices.Sort(names)
	if want := []string{"durations", "habits", "heatmap", "list_instances", "now", "timeline", "wait"}; !slices.Equal(names, want) {
		t.Errorf("the tools are %q", names)
	}

	var got struct {
		Instances []presence.Instance
		Contacts  []presence.Contact
		Spans     []presence.Span
		Total     presence.Summary
		Cells     []presence.Heat
		Status    presence.Status
		TimedOut  bool
	}
	if wrong := call(t, all, "list_instances", nil, &got); wrong != "" || len(got.Instances) != 3 {
		t.Errorf("%+v %s", got, wrong)
	}
	if wrong := call(t, all, "now", nil, &got); wrong != "" || len(got.Contacts) != 2 {
		t.Errorf("%+v %s", got, wrong)
	}
	contact := map[string]any{"instance": "i", "phone": "5544999999999", "from": "2026-10-01", "to": "2026-10-02"}
	if wrong := call(t, all, "timeline", contact, &got); wrong != "" || len(got.Spans) != 4 || got.Spans[0].Seconds != 35 {
		t.Errorf("%+v %s", got, wrong)
	}
	if wrong := call(t, all, "durations", contact, &got); wrong != "" || got.Total.Typing.Count != 1 || got.Total.InChat.Seconds != 420 {
		t.Errorf("%+v %s", got, wrong)
	}
	if wrong := call(t, all, "heatmap", map[string]any{"instance": "i", "last": "100d"}, &got); wrong != "" || len(got.Cells) != 168 {
		t.Errorf("%+v %s", got, wrong)
	}
	contact["from"] = "2026-09-01"
	if wrong := call(t, all, "habits", contact, &got); wrong != "" || len(got.Cells) != 168 {
		t.Errorf("%+v %s", got, wrong)
	}
	contact["from"] = "2026-10-01"
	if wrong := call(t, all, "wait", map[string]any{"instance": "j", "phone": "p", "timeoutSeconds": 0.1}, &got); wrong != "" || !got.TimedOut || got.Status != presence.Composing {
		t.Errorf("%+v %s", got, wrong)
	}
	for tool, arguments := range map[string]map[string]any{
		"timeline": {"instance": "i", "phone": "5544999999999", "from": "yesterday"}, "durations": {"instance": "i", "bucket": "year"},
		"now": {"statuses": []string{"TYPING"}}, "heatmap": {"instance": "nobody"}, "wait": {"instance": "j", "phone": "p", "timeoutSeconds": 61},
	} {
		if wrong := call(t, all, tool, arguments, &got); wrong == "" || strings.Contains(wrong, "unexpected") {
			t.Errorf("%s %v: %q", tool, arguments, wrong)
		}
	}

	// A token sees what it sees over HTTP.
	secret, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "one", Scopes: []auth.Scope{auth.Read}, Instances: []string{"j"}})
	if err != nil {
		t.Fatal(err)
	}
	one := s.connectMCP(t, secret)
	if wrong := call(t, one, "list_instances", nil, &got); wrong != "" || len(got.Instances) != 1 {
		t.Errorf("%+v %s", got, wrong)
	}
	if wrong := call(t, one, "now", nil, &got); wrong != "" || len(got.Contacts) != 1 {
		t.Errorf("%+v %s", got, wrong)
	}
	for _, tool := range []string{"timeline", "durations"} {
		if wrong := call(t, one, tool, contact, &got); !strings.Contains(wrong, "There is no such") {
			t.Errorf("%s: %q", tool, wrong)
		}
	}
	wait := &mcp.CallToolParams{Name: "wait", Arguments: map[string]any{"instance": "j", "phone": "p"}}
	if _, err := one.CallTool(t.Context(), wait); err == nil || !strings.Contains(err.Error(), `unknown tool "wait"`) {
		t.Errorf("it may wait without the scope live: %v", err)
	}
	req := request(t, http.MethodPost, s.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	refused(t, s.do(t, req), http.StatusUnauthorized)
}
