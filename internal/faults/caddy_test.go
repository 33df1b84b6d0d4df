//go:build linux

package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// The service behind Caddy as docs/Caddyfile has it: what the service does not know or keeps to itself is 404, and callbacks
// arrive as Z-API's client sends them.
func TestCaddyfile(t *testing.T) {
	t.Parallel()
	caddy, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("caddy is not installed")
	}
	p := newPlace(t)
	s := newService(t, p, "", "--trusted-proxies=127.0.0.0/8")
	token := func(args ...string) string {
		t.Helper()
		out, err := command(false, shared.program, append([]string{"token", "create", "--data-dir", s.dataDir, "--instance", "i"}, args...)...).Output()
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	sender, reader := token("gateway", "--scope", "webhook"), token("reader", "--scope", "read", "--expires", "90d")

	config, err := os.ReadFile("../../docs/Caddyfile")
	must(t, err)
	host := p.host()
	address := fmt.Sprintf("%s:%d", host, caddyPort)
	text := strings.NewReplacer("\npresence.example.org", fmt.Sprintf("\nhttp://presence.example.org:%d", caddyPort), "127.0.0.1:8080", s.address()).Replace(string(config))
	file := filepath.Join(p.dir, "Caddyfile")
	must(t, os.WriteFile(file, []byte("{\n\tadmin off\n\tdefault_bind "+host+"\n}\n"+text), 0o644))
	cmd := command(false, caddy, "run", "--adapter", "caddyfile", "--config", file)
	cmd.Env = append(cmd.Env, "HOME="+p.dir)
	out, err := os.Create(filepath.Join(p.dir, "caddy.log"))
	must(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Caddy's log ends:\n%s", tail(out.Name()))
		}
	})
	start(t, cmd)

	call := func(method, path, body string, header ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
		must(t, err)
		req.Host = "presence.example.org"
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := client.Do(req)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	if !strings.Contains(text, fmt.Sprint(":", caddyPort)) || !strings.Contains(text, s.address()) {
		t.Fatalf("the configuration is %s", text)
	}
	pgtest.Eventually(t, "Caddy responds", func() bool { return call(http.MethodGet, "/openapi.json", "") == http.StatusOK })
	pgtest.Eventually(t, "the service has read the tokens", func() bool { return call(http.MethodGet, "/v1/instances", "") == http.StatusUnauthorized })
	for path, want := range map[string]int{
		"/": http.StatusOK, "/docs": http.StatusOK, "/openapi.json": http.StatusOK,
		"/nope": http.StatusNotFound, "/webhook/zapi": http.StatusNotFound, "/webhooks/zapi/" + sender + "/x": http.StatusNotFound,
		"/metrics": http.StatusNotFound, "//metrics": http.StatusNotFound, "/healthz": http.StatusNotFound, "/readyz": http.StatusNotFound,
	} {
		if got := call(http.MethodGet, path, ""); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	const body = `{"type":"PresenceChatCallback","phone":"5544","status":"COMPOSING","lastSeen":null,"instanceId":"i"}`
	zapi := []string{
		"Content-Type", "application/json", "Origin", "https://api.z-api.io", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c",
		"HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
	}
	if got := call(http.MethodPost, "/webhooks/zapi/"+sender, body, zapi...); got != http.StatusOK {
		t.Errorf("a callback: %d", got)
	}
	if got := call(http.MethodPost, "/webhooks/zapi", body, zapi...); got != http.StatusUnauthorized {
		t.Errorf("a callback without a token: %d", got)
	}
	// On a busy machine it may be in the spool at first.
	pgtest.Eventually(t, "it can be read", func() bool {
		return call(http.MethodGet, "/v1/instances/i/contacts/5544", "", "Authorization", "Bearer "+reader) == http.StatusOK
	})
	s.stop()
}
