package app_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

const recipes = "../../docs/recipes"

// recipe returns the first block of code of a language in a section of docs/recipes.md.
func recipe(t *testing.T, section, language string) string {
	t.Helper()
	text, err := os.ReadFile(recipes + ".md")
	if err != nil {
		t.Fatal(err)
	}
	_, of, found := strings.Cut(string(text), "\n## "+section)
	_, code, begins := strings.Cut(of, "\n```"+language+"\n")
	code, _, ends := strings.Cut(code, "\n```\n")
	if !found || !begins || !ends {
		t.Fatalf("there is no %s in the section %s", language, section)
	}
	return code + "\n"
}

// needs skips a test where a program is missing. .ci/run installs them.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
}

// runRecipe returns the recipe's program, which is to be started.
func runRecipe(t *testing.T, s *service, code, file string, env []string, command ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if command[0] == "go" { // on a machine that has never compiled net/http, this takes longer than anything here may
		build := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, path)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], path)...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "PRESENCELOG_URL="+s.url, "PRESENCELOG_TOKEN=secret", "INSTANCE=i", "PHONE=5544999999999"), env...)
	return cmd
}

// Each program waits until the contact has stopped typing, and not longer.
func TestRecipesWaitBeforeTheReply(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		section, language, file string
		command                 []string
	}{
		{"curl", "sh", "wait.sh", []string{"sh"}}, {"Go", "go", "main.go", []string{"go", "run"}}, {"Python", "python", "wait.py", []string{"python3"}},
	} {
		t.Run(r.section, func(t *testing.T) {
			t.Parallel()
			needs(t, r.command[0])
			if r.section == "curl" {
				needs(t, "curl")
			}
			s := start(t, func(c *app.Config) { c.APITokens = []string{"secret"} })
			if err := settings.Set(t.Context(), s.pool, "", "typing_timeout", "1h"); err != nil { // however long the program takes to start
				t.Fatal(err)
			}
			cmd := runRecipe(t, s, recipe(t, r.section, r.language), r.file, nil, r.command...)
			s.postID(t, body("i", "5544999999999", "COMPOSING"))
			done := make(chan struct{})
			var out []byte
			var err error
			go func() { out, err = cmd.CombinedOutput(); close(done) }()
			// It is still typing when the program asks.
			pgtest.Eventually(t, "the program waits", func() bool {
				select {
				case <-done:
					t.Fatalf("it did not wait: %s %v", out, err)
				default:
				}
				return s.liveClients(t) == 1
			})
			stopped := presence.Now()
			s.postID(t, body("i", "5544999999999", "PAUSED"))
			<-done
			if waited := presence.Now().Sub(stopped); err != nil || string(out) != "now send the reply\n" || waited < 1500*time.Millisecond {
				t.Errorf("%q %v, %s after the end of typing", out, err, waited)
			}
		})
	}
}

func TestRecipeShowsTypingInChatwoot(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	s := start(t, func(c *app.Config) { c.APITokens = []string{"secret"} })
	if err := settings.Set(t.Context(), s.pool, "", "typing_timeout", "1h"); err != nil { // so that typing ends by the event alone
		t.Fatal(err)
	}
	received := make(chan string, 10)
	chatwoot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const contact = "/public/api/v1/inboxes/inbox/contacts/5544999999999/conversations"
		switch {
		case r.Method == http.MethodGet && r.URL.Path == contact:
			_, _ = w.Write([]byte(`[{"id":1},{"id":7}]`))
		case r.Method == http.MethodPost && r.URL.Path == contact+"/7/toggle_typing":
			received <- r.FormValue("typing_status")
		default:
			t.Errorf("%s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(chatwoot.Close)
	cmd := runRecipe(t, s, recipe(t, "Chatwoot", "python"), "typing.py", []string{"CHATWOOT_URL=" + chatwoot.URL, "CHATWOOT_INBOX=inbox"}, "python3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	pgtest.Eventually(t, "the program listens", func() bool { return s.liveClients(t) == 1 })
	s.listen(t, "", "", "Authorization", "Bearer secret") // returns once the states are loaded: then it gets every change
	for _, change := range [][2]string{{"COMPOSING", "on"}, {"PAUSED", "off"}} {
		s.postID(t, body("i", "5544999999999", change[0]))
		select {
		case got := <-received:
			if got != change[1] {
				t.Errorf("%s: received %q", change[0], got)
			}
		case <-time.After(pgtest.Timeout):
			t.Fatalf("%s: received nothing", change[0])
		}
	}
}

// The flows lead from node to node, and what they ask is what the service takes.
func TestRecipesForFlowEditors(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "5544999999999", "AVAILABLE"))
	for _, file := range []string{"n8n-wait-before-reply.json", "n8n-esperar-antes-de-responder.json"} {
		var flow struct {
			Nodes []struct {
				Name, Type string
				Parameters struct {
					URL             string
					QueryParameters struct {
						Parameters []struct{ Name, Value string }
					}
				}
			}
			Connections map[string]struct{ Main [][]struct{ Node string } }
		}
		content, err := os.ReadFile(filepath.Join(recipes, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &flow); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, n := range flow.Nodes {
			names[n.Name] = true
		}
		for from, c := range flow.Connections {
			for _, to := range c.Main[0] {
				if !names[from] || !names[to.Node] {
					t.Errorf("%s: from %q to %q", file, from, to.Node)
				}
			}
		}
		for _, m := range regexp.MustCompile(`\$\('([^']+)'\)`).FindAllStringSubmatch(string(content), -1) {
			if !names[m[1]] {
				t.Errorf("%s: there is no node %q", file, m[1])
			}
		}
		asked := false
		for _, n := range flow.Nodes {
			if n.Type != "n8n-nodes-base.httpRequest" {
				continue
			}
			path := strings.TrimPrefix(n.Parameters.URL, "=https://presence.example.org")
			path = regexp.MustCompile(`\{\{[^}]*instanceId[^}]*\}\}`).ReplaceAllString(path, "i")
			path = regexp.MustCompile(`\{\{[^}]*phone[^}]*\}\}`).ReplaceAllString(path, "5544999999999")
			query := "?x="
			for _, p := range n.Parameters.QueryParameters.Parameters {
				if !strings.HasPrefix(p.Value, "=") {
					query = strings.Replace(query, "x=", p.Name+"="+p.Value+"&x=", 1)
				}
			}
			var w waited
			s.get(t, path+strings.TrimSuffix(query, "&x="), &w)
			asked = !w.TimedOut
		}
		if !asked {
			t.Errorf("%s does not wait", file)
		}
	}
}
