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
	"github.com/presencelog/presencelog/internal/settings"
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

// toolResult has the members of all tools' results that are looked at.
type toolResult struct {
	Instances []presence.Instance
	Contacts  []presence.Contact
	Spans     []presence.Span
	Total     presence.Summary
	Weeks     int
	Cells     []struct{ Seconds, Share float64 }
	Status    presence.Status
	TimedOut  bool
}

// ask returns the result of a call that must succeed.
func ask(t *testing.T, session *mcp.ClientSession, tool string, arguments map[string]any) (got toolResult) {
	t.Helper()
	if wrong := call(t, session, tool, arguments, &got); wrong != "" {
		t.Errorf("%s: %s", tool, wrong)
	}
	return got
}

func TestMCP(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.APITokens, c.WebhookTokens = []string{"all"}, []string{"hook"} })
	s.load(t, example)
	s.load(t, record("j", "p", "COMPOSING", presence.Now().Add(-time.Second))+record("k", "p", "RECORDING", presence.Now().Add(-time.Second)))
	if err := settings.Set(t.Context(), s.pool, "j", "typing_timeout", "1h"); err != nil { // it still types when it is asked
		t.Fatal(err)
	}
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

	if got := ask(t, all, "list_instances", nil); len(got.Instances) != 3 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, all, "now", nil); len(got.Contacts) != 2 {
		t.Errorf("%+v", got)
	}
	contact := map[string]any{"instance": "i", "phone": "5544999999999", "from": "2026-10-01", "to": "2026-10-02"}
	if got := ask(t, all, "timeline", contact); len(got.Spans) != 4 || got.Spans[0].Seconds != 35 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, all, "durations", contact); got.Total.Typing.Count != 1 || got.Total.InChat.Seconds != 420 {
		t.Errorf("%+v", got)
	}
	const thursdayAt10 = 3*24 + 10
	month := map[string]any{"instance": "i", "from": "2026-09-01", "to": "2026-10-02"}
	if got := ask(t, all, "heatmap", month); len(got.Cells) != 168 || got.Cells[thursdayAt10].Seconds != 420 {
		t.Errorf("%+v", got)
	}
	month["phone"] = contact["phone"]
	if got := ask(t, all, "habits", month); got.Weeks != 5 || len(got.Cells) != 168 || got.Cells[thursdayAt10].Share != 0.2 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, all, "wait", map[string]any{"instance": "j", "phone": "p", "timeoutSeconds": 0.1}); !got.TimedOut || got.Status != presence.Composing {
		t.Errorf("%+v", got)
	}
	for _, mistake := range []struct {
		tool      string
		arguments map[string]any
		want      string
	}{
		{"timeline", map[string]any{"instance": "i", "phone": "5544999999999", "from": "yesterday"}, "from"},
		{"durations", map[string]any{"instance": "i", "bucket": "year"}, "bucket"},
		{"now", map[string]any{"statuses": []string{"TYPING"}}, "statuses"},
		{"heatmap", map[string]any{"instance": "nobody"}, "There is no such"},
		{"wait", map[string]any{"instance": "j", "phone": "p", "timeoutSeconds": 61}, "timeoutSeconds"},
	} {
		wrong := call(t, all, mistake.tool, mistake.arguments, &toolResult{})
		if !strings.Contains(wrong, mistake.want) || strings.Contains(wrong, "unexpected") {
			t.Errorf("%s %v: %q, want it to name %q", mistake.tool, mistake.arguments, wrong, mistake.want)
		}
	}

	// A token sees what it sees over HTTP.
	secret, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "one", Scopes: []auth.Scope{auth.Read}, Instances: []string{"j"}})
	if err != nil {
		t.Fatal(err)
	}
	one := s.connectMCP(t, secret)
	if got := ask(t, one, "list_instances", nil); len(got.Instances) != 1 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, one, "now", nil); len(got.Contacts) != 1 {
		t.Errorf("%+v", got)
	}
	for _, tool := range []string{"timeline", "durations"} {
		if wrong := call(t, one, tool, contact, &toolResult{}); !strings.Contains(wrong, "There is no such") {
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
