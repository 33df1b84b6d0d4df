package app_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestWebhookTokensAreAcceptedInEveryPlace(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens = []string{"first", "second/+ &é"} })
	type h map[string]string
	for _, test := range []struct {
		name, path string
		headers    h
		status     int
	}{
		{"z-api-token", "", h{"z-api-token": "first"}, 200},
		{"z-api-token, the other", "", h{"z-api-token": "second/+ &é"}, 200},
		{"Client-Token", "", h{"Client-Token": "first"}, 200},
		{"query", "?token=first", nil, 200},
		{"query, the other", "?token=second%2F%2B%20%26%C3%A9", nil, 200},
		{"path", "/first", nil, 200},
		{"path, the other", "/second%2F+%20&%C3%A9", nil, 200},
		{"beside one of the instance", "/first", h{"z-api-token": "of the instance"}, 200},
		{"Client-Token beside one of the instance", "", h{"Client-Token": "first", "z-api-token": "of the instance"}, 200},
		{"path beside a wrong query", "/first?token=wrong", nil, 200},

		{"none", "", nil, 401},
		{"empty", "?token=", h{"z-api-token": "", "Client-Token": ""}, 401},
		{"wrong", "", h{"z-api-token": "wrong"}, 401},
		{"wrong everywhere", "/wrong?token=wrong", h{"z-api-token": "wrong", "Client-Token": "wrong"}, 401},
		{"a part", "/firs", nil, 401},
		{"longer", "/first1", nil, 401},
		{"other case", "/First", nil, 401},
		{"both together", "", h{"z-api-token": "first,second/+ &é"}, 401},
		{"another place", "?secret=first", h{"Authorization": "Bearer first", "X-Token": "first"}, 401},
		{"second query parameter", "?token=wrong&token=first", nil, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, http.MethodPost, s.url+"/webhooks/zapi"+test.path, strings.NewReader(body("i", "p", "COMPOSING")))
			for name, value := range test.headers {
				req.Header.Set(name, value)
			}
			if a := s.do(t, req); test.status == http.StatusOK {
				idOf(t, a)
			} else {
				refused(t, a, test.status)
			}
		})
	}
}

func TestUnauthorizedBodyIsNotParsed(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens = []string{"secret"} })
	for _, b := range []string{"", "not JSON", "{}", body("i", "p", "LISTENING"), strings.Repeat("x", 65<<10)} {
		refused(t, s.post(t, b), http.StatusUnauthorized)
	}
	a := s.post(t, body("i", "p", "COMPOSING"))
	if refused(t, a, http.StatusUnauthorized); strings.Contains(string(a.body), "secret") {
		t.Errorf("the response contains the secret: %s", a.body)
	}
	kept := pgtest.Get[int](t, s.pool, "SELECT (SELECT count(*) FROM rejected_payloads) + (SELECT count(*) FROM events)")
	if kept != 0 {
		t.Errorf("%d bodies of strangers were kept", kept)
	}
}

func TestEveryAPIRouteRequiresAToken(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"one", "two"} })
	idOf(t, s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi/hook", strings.NewReader(body("i", "p", "COMPOSING")))))
	for _, path := range []string{
		"/v1/instances", "/v1/instances/i/contacts", "/v1/instances/i/contacts/p", "/v1/instances/i/durations",
		"/v1/instances/i/contacts/p/timeline", "/v1/instances/i/contacts/p/durations", "/v1/instances/i/contacts/p/events",
	} {
		for header, status := range map[string]int{
			"Bearer one": 200, "Bearer two": 200, "bearer one": 200, "BEARER two": 200, "Bearer  one": 200,
			"": 401, "one": 401, "Bearer": 401, "Bearer ": 401, "Bearer wrong": 401, "Bearer hook": 403, "Bearer onetwo": 401,
			"Bearer one two": 401, "Basic one": 401, "Basic b25lOm9uZQ==": 401, "Token one": 401,
		} {
			req := request(t, http.MethodGet, s.url+path, nil)
			req.Header.Set("Authorization", header)
			a := s.do(t, req)
			if status == http.StatusOK {
				if a.StatusCode != http.StatusOK {
					t.Errorf("%s with %q: %s %s", path, header, a.Status, a.body)
				}
				continue
			}
			refused(t, a, status)
			if got := a.Header.Get("WWW-Authenticate"); status == http.StatusUnauthorized && got != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", path, got)
			}
		}
	}
	// Nor do strangers learn whether something exists.
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/nothing", nil)), http.StatusUnauthorized)
	refused(t, s.do(t, request(t, http.MethodDelete, s.url+"/v1/instances", nil)), http.StatusUnauthorized)
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if a := s.do(t, request(t, http.MethodGet, s.url+path, nil)); a.StatusCode != http.StatusOK {
			t.Errorf("%s asks for a token: %s", path, a.Status)
		}
	}
}

// If other machines can reach the service, every webhook and API request needs a token, and the log says what is missing.
func TestPublicAddressNeedsTokens(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Listen = "0.0.0.0:0" })
	_, port, _ := net.SplitHostPort(s.Addr.String())
	s.url = "http://127.0.0.1:" + port
	refused(t, s.post(t, body("i", "p", "COMPOSING")), http.StatusUnauthorized)
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/instances", nil)), http.StatusUnauthorized)
	for _, scope := range []auth.Scope{auth.Webhook, auth.Read} {
		if s.Auth.Protection(scope) != auth.Closed {
			t.Errorf("%s is not closed", scope)
		}
	}
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "localhost.example.com:0"} {
		if !(app.Config{Listen: listen}).Public() {
			t.Errorf("%s counts as private", listen)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", "[::1]:80", "127.1.2.3:80"} {
		if (app.Config{Listen: listen}).Public() {
			t.Errorf("%s counts as public", listen)
		}
	}
}

func TestBlankTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []app.Config{
		{Listen: "127.0.0.1:0", WebhookTokens: []string{""}}, {Listen: "127.0.0.1:0", APITokens: []string{"good", " "}},
		{Listen: "127.0.0.1:0", APITokens: []string{"\t"}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "a token is blank") {
			t.Errorf("%q and %q: %v", c.WebhookTokens, c.APITokens, err)
		}
	}
}
