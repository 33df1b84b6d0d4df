package app_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestRefusedCallbacksAreCountedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	var log pgtest.Output
	s := start(t, func(c *app.Config) {
		c.WebhookTokens = []string{"right"}
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	bound, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "gateway of i", Scopes: []auth.Scope{auth.Webhook}, Instances: []string{"i"}})
	if err != nil {
		t.Fatal(err)
	}
	hook := func(token, body string) response {
		return s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi/"+token, strings.NewReader(body)))
	}
	for range 20 {
		refused(t, hook("wrong", body("i", "55440000", "COMPOSING")), http.StatusUnauthorized)
		refused(t, hook(bound, body("j", "55440000", "COMPOSING")), http.StatusForbidden)
		refused(t, hook(bound, body("i", "55440000", "LISTENING")), http.StatusUnprocessableEntity)
	}
	idOf(t, hook(bound, body("i", "55440000", "COMPOSING")))
	metrics := string(s.do(t, request(t, http.MethodGet, s.url+"/metrics", nil)).body)
	for _, line := range []string{
		`presencelog_callbacks_rejected_total{instance="",reason="unauthorized"} 20`,
		`presencelog_callbacks_rejected_total{instance="i",reason="other_instance"} 20`,
		`presencelog_callbacks_rejected_total{instance="i",reason="invalid_field"} 20`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	for _, reason := range []string{"unauthorized", "other_instance", "invalid_field"} {
		if n := strings.Count(log.String(), "reason="+reason+" "); n < 1 || n >= 20 { // once a minute
			t.Errorf("%s was logged %d times", reason, n)
		}
	}
	for _, hidden := range []string{"55440000", "wrong", bound, "right"} {
		if strings.Contains(log.String(), hidden) || strings.Contains(metrics, hidden) {
			t.Errorf("the log or the metrics have %q", hidden)
		}
	}
	if n := 0; s.pool.QueryRow(t.Context(), "SELECT count(*) FROM instances WHERE name = 'j'").Scan(&n) != nil || n != 0 {
		t.Error("the other instance came to be")
	}
}

func TestRateLimitsRespondWithRetryAfter(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) {
		c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"api"}
		c.AuthLimits = auth.Limits{Webhooks: 0.001, API: 0.001, Failures: 0.001}
	})
	hook := func(token string) response {
		return s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi/"+token, strings.NewReader(body("i", "p", "COMPOSING"))))
	}
	api := func(token string) response {
		req := request(t, http.MethodGet, s.url+"/v1/instances", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		return s.do(t, req)
	}
	refused(t, hook("wrong"), http.StatusUnauthorized)
	limited := []response{hook("wrong"), api("wrong")} // both count of the address
	idOf(t, hook("hook"))                              // which stops no valid token
	if a := api("api"); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
	for _, a := range append(limited, hook("hook"), api("api")) {
		if refused(t, a, http.StatusTooManyRequests); a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

// From this machine and private networks, Prometheus needs no token; from outside it does, also through a proxy.
func TestMetricsNeedATokenFromOutside(t *testing.T) {
	t.Parallel()
	for _, proxies := range []string{"", "127.0.0.1"} {
		s := start(t, func(c *app.Config) {
			c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"api"}
			if proxies != "" {
				c.Proxies, _ = auth.ParseProxies([]string{proxies})
			}
		})
		for _, test := range []struct {
			forwarded, token string
			status           int
		}{{"", "", 200}, {"8.8.8.8", "", 401}, {"8.8.8.8", "api", 200}, {"8.8.8.8", "hook", 403}, {"10.0.0.1, 8.8.8.8", "", 401}} {
			req := request(t, http.MethodGet, s.url+"/metrics", nil)
			if test.forwarded != "" {
				req.Header.Set("X-Forwarded-For", test.forwarded)
			}
			if test.token != "" {
				req.Header.Set("Authorization", "Bearer "+test.token)
			}
			if a := s.do(t, req); a.StatusCode != test.status {
				t.Errorf("proxies %q, %+v: %s", proxies, test, a.Status)
			}
		}
		for name, header := range map[string]http.Header{
			"what nginx is often told to add": {"X-Real-Ip": {"8.8.8.8"}}, "the standard": {"Forwarded": {"for=8.8.8.8"}}, "only the protocol": {"X-Forwarded-Proto": {"https"}},
			"only itself": {"Via": {"1.1 proxy"}}, "an address after the client's empty one": {"X-Forwarded-For": {"", "8.8.8.8"}},
		} {
			req := request(t, http.MethodGet, s.url+"/metrics", nil)
			req.Header = header
			if a := s.do(t, req); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("proxies %q, a proxy that adds %s: %s", proxies, name, a.Status)
			}
		}
	}
}

// A compressed body may be small and become huge; it is not unpacked.
func TestCompressedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, encoding := range []string{"gzip", "br", "deflate", "gzip, identity"} {
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body("i", "p", "COMPOSING")))
		req.Header.Set("Content-Encoding", encoding)
		refusedFor(t, s.do(t, req), http.StatusUnsupportedMediaType, "header.Content-Encoding")
	}
}
