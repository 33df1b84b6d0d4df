package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/problem"
)

// until counts how many requests get a status before one gets 429 with Retry-After.
func until429(t *testing.T, call func() error, want int) (n int) {
	t.Helper()
	for ; n < 10_000; n++ {
		switch err := call(); status(err) {
		case want:
		case http.StatusTooManyRequests:
			if after, err := strconv.Atoi(err.(*problem.Problem).Header.Get("Retry-After")); err != nil || after < 1 {
				t.Errorf("Retry-After: %d, %v", after, err)
			}
			return n
		default:
			t.Fatal(err)
		}
	}
	return n
}

func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const limit = 0.001 // so that nothing is given back while the test runs
	a := running(t, pool, func(c *auth.Config) {
		c.Limits = auth.Limits{Webhooks: limit, API: limit, Failures: limit}
		c.WebhookTokens, c.APITokens = []string{"hook", "hook 2"}, []string{"api", "api 2"}
	})
	api := func(token, from string) func() error {
		return func() error {
			r := bearer(token)
			r.RemoteAddr = from + ":1"
			_, err := a.Authorize(r, auth.Read)
			return err
		}
	}
	hook := func(token string) func() error {
		return func() error {
			r := httptest.NewRequest(http.MethodPost, "/webhooks/zapi?token="+token, nil)
			_, err := a.AuthorizeWebhook(r)
			return err
		}
	}
	for name, n := range map[string]int{
		"failures": until429(t, api("wrong", "192.0.2.7"), 401), "API": until429(t, api("api", "192.0.2.7"), 200), "webhook": until429(t, hook("hook"), 200),
	} {
		if n != 1 {
			t.Errorf("%s: %d requests before the limit, want 1", name, n)
		}
	}
	for name, call := range map[string]func() error{
		"another token from an address with failures": api("api 2", "192.0.2.7"), "another webhook token": hook("hook+2"),
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := api("wrong", "192.0.2.8")(); status(err) != http.StatusUnauthorized {
		t.Errorf("a failure from another address: %v", err)
	}
	for _, test := range []struct {
		from string
		want int
	}{{"[2001:db8::1]", 401}, {"[2001:db8::2]", 429}, {"[2001:db8:0:1::1]", 401}, {"[fe80::1%eth0]", 401}, {"[fe80::1%eth1]", 429}} {
		if err := api("wrong", test.from)(); status(err) != test.want {
			t.Errorf("a failure from %s: %v, want %d", test.from, err, test.want)
		}
	}
}

func TestManyClientsDoNotFillMemory(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.Limits.Failures, c.APITokens = 0.001, []string{"api"} })
	for i := range 20_001 {
		r := bearer("wrong")
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.1:1", i/256, i%256)
		if _, err := a.Authorize(r, auth.Read); status(err) != http.StatusUnauthorized {
			t.Fatal(err)
		}
	}
	if n := a.Buckets(); n > 10_000 {
		t.Errorf("%d clients are remembered", n)
	}
}

func TestOnlyTrustedProxiesNameTheClient(t *testing.T) {
	t.Parallel()
	proxies, err := auth.ParseProxies([]string{"10.0.0.0/8", "192.0.2.1", " ::1"})
	if err != nil {
		t.Fatal(err)
	}
	a := auth.New(auth.Config{Proxies: proxies, Now: time.Now})
	for _, test := range []struct{ from, forwarded, want string }{
		{"203.0.113.9:1", "1.2.3.4", "203.0.113.9"},
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "1.2.3.4", "1.2.3.4"},
		{"192.0.2.1:1", "6.6.6.6, 1.2.3.4", "1.2.3.4"},
		{"192.0.2.1:1", "6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"},
		{"[::ffff:192.0.2.1]:1", "1.2.3.4", "1.2.3.4"},
		{"[::1]:1", "2001:db8::1", "2001:db8::1"},
		{"192.0.2.1:1", "1.2.3.4, nonsense\r\nX: y", "192.0.2.1"},
		{"10.9.9.9:1", "10.1.1.1", "10.1.1.1"},
		{"@", "1.2.3.4", "@"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = test.from
		if test.forwarded != "" {
			r.Header["X-Forwarded-For"] = []string{test.forwarded}
		}
		if got := a.Client(r); got != test.want {
			t.Errorf("%s for %q: %q, want %q", test.from, test.forwarded, got, test.want)
		}
	}
	for _, bad := range []string{"", "example.org", "10.0.0.0/33", "10.0.0"} {
		if _, err := auth.ParseProxies([]string{bad}); !says(err, fmt.Sprintf("%q is neither an address nor a network", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("192.0.2.1:1", "1.2.3.4, 10.0.0.1")
	proxies, err := auth.ParseProxies([]string{"0.0.0.0/0", "::/0"})
	if err != nil {
		f.Fatal(err)
	}
	a := auth.New(auth.Config{Proxies: proxies, Now: time.Now})
	f.Fuzz(func(_ *testing.T, from, forwarded string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = from, []string{forwarded}
		a.Client(r)
	})
}
