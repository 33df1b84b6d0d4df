package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// What strangers and senders choose cannot look like messages of the service, nor control a terminal that shows them.
func TestLogCannotBeForged(t *testing.T) {
	t.Parallel()
	i := install(t)
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	for format, check := range map[string]func(line string) bool{
		"text": func(line string) bool {
			return strings.HasPrefix(line, "time=") && !strings.Contains(quoted.ReplaceAllString(line, `""`), "forged")
		},
		"json": func(line string) bool {
			var message struct{ Time, Level, Msg string }
			return json.Unmarshal([]byte(line), &message) == nil && message.Time != "" && message.Msg != "forged"
		},
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			database := pgtest.URL(t)
			cmd := i.command("serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", format, "--data-dir", t.TempDir(),
				"--webhook-tokens", "hook", "--api-tokens", "api", "--trusted-proxies", "127.0.0.1")
			cmd.Env = append(cmd.Env, "DATABASE_URL="+database)
			var out pgtest.Output
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			pgtest.Eventually(t, "serve listens", func() bool { return listens.MatchString(out.String()) })
			address := strings.TrimPrefix(listens.FindStringSubmatch(out.String())[1], "http://")
			began := len(out.String()) // after what it says at the start, which is for people

			conn, err := pgx.Connect(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			pgtest.Exec(t, conn, "ALTER TABLE instances RENAME TO gone") // so that there are errors to log
			forge(t, address)
			pgtest.Eventually(t, "what was refused and what failed is logged", func() bool {
				log := out.String()[began:]
				return strings.Contains(log, "refused callbacks") && strings.Contains(log, "instances") && strings.Contains(log, "eth0")
			})
			for line := range strings.Lines(out.String()[began:]) {
				line = strings.TrimSuffix(line, "\n")
				if strings.ContainsFunc(line, unicode.IsControl) || !strings.HasPrefix(line, "  ") && !check(line) {
					t.Errorf("the log has %q", line)
				}
			}
		})
	}
}

// forge sends requests with a forged log message in every place that a client controls.
func forge(t *testing.T, address string) {
	t.Helper()
	const forged = "x\nlevel=ERROR msg=forged\x1b[2J"
	escaped, query := url.PathEscape(forged), url.QueryEscape(forged)
	text, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	event := func(kind, phone, instance string) string {
		return fmt.Sprintf(`{"type":%s,"phone":%s,"status":"COMPOSING","instanceId":%s}`, kind, phone, instance)
	}
	for _, request := range []struct{ line, headers, body string }{
		{"POST /webhooks/zapi/" + escaped, "X-Forwarded-For: fe80::1%eth0 level=ERROR msg=forged\r\n", "{}"},
		{"POST /webhooks/zapi?token=" + query, "", "{}"},
		{"POST /webhooks/zapi/hook", "", event(string(text), `"1"`, `"i"`)},
		{"POST /webhooks/zapi/hook", "", event(`"PresenceChatCallback"`, string(text), `"i"`)},
		{"POST /webhooks/zapi/hook", "", event(`"PresenceChatCallback"`, `"1"`, string(text))},
		{"POST /webhooks/zapi/hook", "", string(text)},
		{"GET /v1/instances/" + escaped + "/contacts", "Authorization: Bearer api\r\nX-Request-Id: x msg=forged\r\n", ""},
		{"GET /v1/instances/i/contacts/" + escaped + "/timeline", "Authorization: Bearer api\r\n", ""},
		{"GET /v1/now?search=" + query, "Authorization: Bearer api\r\nUser-Agent: x msg=forged\r\n", ""},
		{"DELETE /session", "Cookie: presencelog_session=" + query + "\r\n", ""},
		{"GET /\x1b[2J", "", ""},
		{"GET / level=ERROR msg=forged", "", ""},
		{"GET /" + escaped, "Transfer-Encoding: msg=forged\r\n", ""},
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(pgtest.Timeout)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: msg=forged\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			request.line, request.headers, len(request.body), request.body)
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode == http.StatusOK && strings.HasPrefix(request.line, "GET /v1") {
			t.Errorf("%.40q: %+v (%v)", request.line, res, err)
		}
		conn.Close()
	}
}
