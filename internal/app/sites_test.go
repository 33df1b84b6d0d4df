package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
)

// Without tokens, a page of another site must not use a browser on this machine: neither by a request to this address (CSRF),
// nor under another name that resolves to it (DNS rebinding).
func TestOtherSitesCannotUseAServiceWithoutTokens(t *testing.T) {
	t.Parallel()
	s := start(t)
	host := s.Addr.String()
	_, port, _ := strings.Cut(host, ":")
	s.postID(t, body("i", "p", "COMPOSING"))
	type h map[string]string
	for _, test := range []struct {
		name          string
		headers       h
		api, receiver int
	}{
		{"a program", nil, 200, 200},
		{"by name", h{"Host": "localhost:" + port}, 200, 200},
		{"IPv6", h{"Host": "[::1]:" + port}, 200, 200},
		{"Z-API", h{"Origin": "https://api.z-api.io"}, 403, 200},
		{"Z-API through a tunnel", h{"Host": "abc.tunnel.example", "Origin": "https://api.z-api.io"}, 403, 200},
		{"a gateway through a tunnel", h{"Host": "abc.tunnel.example"}, 403, 200},
		{"the page itself", h{"Origin": "http://" + host, "Sec-Fetch-Site": "same-origin"}, 200, 200},
		{"typed in by hand", h{"Sec-Fetch-Site": "none"}, 200, 200},

		{"a proxy that keeps the host", h{"Host": "presence.example.org", "X-Forwarded-For": "192.0.2.7"}, 403, 200},
		{"a proxy that names this machine", h{"X-Forwarded-For": "192.0.2.7"}, 403, 200},
		{"one that adds less", h{"X-Real-Ip": "192.0.2.7"}, 403, 200},
		{"one that adds less", h{"X-Forwarded-Proto": "https"}, 403, 200},

		{"another site", h{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403, 403},
		{"another site, an old browser", h{"Origin": "https://evil.example"}, 403, 403},
		{"another site, no origin", h{"Sec-Fetch-Site": "cross-site"}, 403, 403},
		{"another port of this machine", h{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403, 403},
		{"a sandboxed frame", h{"Origin": "null"}, 403, 403},
		{"rebinding", h{"Host": "evil.example:" + port, "Origin": "http://evil.example:" + port, "Sec-Fetch-Site": "same-origin"}, 403, 403},
		{"rebinding, reading", h{"Host": "evil.example:" + port, "Sec-Fetch-Site": "same-origin"}, 403, 200},
		{"rebinding to a name that looks right", h{"Host": "127.0.0.1.evil.example:" + port}, 403, 200},
		{"rebinding to a name that looks right", h{"Host": "localhost.evil.example:" + port}, 403, 200},
	} {
		for path, want := range map[string]int{"/v1/instances": test.api, "/v1/live": test.api, "/session": test.api, "/webhooks/zapi": test.receiver} {
			req := request(t, http.MethodGet, s.url+path, nil)
			if path == "/webhooks/zapi" {
				req = request(t, http.MethodPost, s.url+path, strings.NewReader(body("i", "p", "PAUSED")))
			}
			if path == "/v1/live" && want == http.StatusOK {
				continue // which would not end
			}
			for name, value := range test.headers {
				req.Header.Set(name, value)
			}
			if host := req.Header.Get("Host"); host != "" {
				req.Host = host
			}
			a := s.do(t, req)
			if want != http.StatusOK {
				refused(t, a, want)
			} else if a.StatusCode != want {
				t.Errorf("%s, %s: %s %s", test.name, path, a.Status, a.body)
			}
		}
	}
	// What a browser sends without asking first.
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body("i", "p", "PAUSED")))
		req.Header["Content-Type"] = []string{media}
		if media == "" {
			req.Header.Del("Content-Type")
		}
		refused(t, s.do(t, req), http.StatusUnsupportedMediaType)
	}
}

// With tokens, neither host nor origin matter: they prove nothing, and proxies change them.
func TestTokensWorkFromAnyHostAndOrigin(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"api"} })
	req := request(t, http.MethodPost, s.url+"/webhooks/zapi/hook", strings.NewReader(body("i", "p", "PAUSED")))
	req.Host = "presence.example.org"
	req.Header.Set("Origin", "https://gateway.example")
	req.Header.Del("Content-Type")
	idOf(t, s.do(t, req))
	req = request(t, http.MethodGet, s.url+"/v1/instances", nil)
	req.Host = "presence.example.org"
	req.Header.Set("Authorization", "Bearer api")
	if a := s.do(t, req); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
}
