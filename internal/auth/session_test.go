package auth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// sessions serves /session alone.
func sessions(a *auth.Authenticator) func(method, body string, header ...string) *http.Response {
	mux := http.NewServeMux()
	a.Register(mux)
	return func(method, body string, header ...string) *http.Response {
		r := httptest.NewRequest(method, "http://presence.example.org/session", strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Result()
	}
}

func TestBrowsersSignInAndOut(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool)
	call := sessions(a)
	secret := create(t, pool, auth.Token{Name: "page", Scopes: []auth.Scope{auth.Read, auth.Live}, Instances: []string{"i"}})

	res := call(http.MethodPost, `{"token":"`+secret+`"}`, "X-Forwarded-Proto", "https", "Sec-Fetch-Site", "same-origin")
	set := res.Cookies()
	if res.StatusCode != http.StatusNoContent || len(set) != 1 {
		t.Fatalf("%s, %v", res.Status, set)
	}
	if c := set[0]; !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || strings.Contains(c.Value, secret) {
		t.Errorf("the cookie is %s", c)
	}
	cookie := auth.Cookie + "=" + set[0].Value
	r := httptest.NewRequest(http.MethodGet, "/v1/instances", nil)
	r.Header.Set("Cookie", cookie)
	p, err := a.Authorize(r, auth.Read)
	if err != nil || !p.MaySee("i") || p.MaySee("j") || p.Has(auth.Erase) {
		t.Fatal(err)
	}
	res = call(http.MethodGet, "", "Cookie", cookie)
	if b, _ := io.ReadAll(res.Body); strings.TrimSpace(string(b)) != `{"name":"page","scopes":["read","live"],"instances":["i"],"signedIn":true}` {
		t.Errorf("%s", b)
	}
	ctx, cancel := p.Context(t.Context())
	defer cancel()
	if res := call(http.MethodDelete, "", "Cookie", cookie); res.StatusCode != http.StatusNoContent || res.Cookies()[0].MaxAge != -1 {
		t.Errorf("signing out: %s", res.Status)
	}
	<-ctx.Done() // what was open ends
	if _, err := a.Authorize(r, auth.Read); status(err) != http.StatusUnauthorized {
		t.Errorf("after signing out: %v", err)
	}
	if res := call(http.MethodGet, "", "Cookie", cookie); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after signing out: %s", res.Status)
	}
}

func TestRevocationEndsSessions(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool)
	secret := create(t, pool, auth.Token{Name: "page", Scopes: []auth.Scope{auth.Read}})
	session, _, err := a.SignIn(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/v1/instances", nil)
	r.AddCookie(&http.Cookie{Name: auth.Cookie, Value: session})
	if _, err := a.Authorize(r, auth.Read); err != nil {
		t.Fatal(err)
	}
	if err := auth.Revoke(t.Context(), pool, "page"); err != nil {
		t.Fatal(err)
	}
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authorize(r, auth.Read); status(err) != http.StatusUnauthorized {
		t.Errorf("after the token was revoked: %v", err)
	}
}

func TestSigningInIsRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.APITokens = []string{"good"} })
	hook := create(t, pool, auth.Token{Name: "hook", Scopes: []auth.Scope{auth.Webhook}})
	call := sessions(a)
	for body, want := range map[string]int{
		`{"token":"good"}`: 204, `{"token":"wrong"}`: 401, `{"token":""}`: 422, `{}`: 422, "": 422, "[]": 422, `{"token":1}`: 422,
		`{"token":"` + hook + `"}`: 403, `{"token":"` + strings.Repeat("x", 5000) + `"}`: 422,
	} {
		res := call(http.MethodPost, body)
		if res.StatusCode != want || (want != 204) != (len(res.Cookies()) == 0) {
			t.Errorf("%.50s: %s %v", body, res.Status, res.Cookies())
		}
	}
}

// CSRF: a page of another site can neither sign in nor out, nor change anything by the cookie.
func TestOtherSitesCannotUseASession(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.APITokens = []string{"good"} })
	call := sessions(a)
	session, _, err := a.SignIn(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	cookie := auth.Cookie + "=" + session
	for _, header := range [][2]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			if res := call(method, `{"token":"good"}`, "Cookie", cookie, header[0], header[1]); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %s: %s", method, header, res.Status)
			}
		}
		r := httptest.NewRequest(http.MethodDelete, "http://presence.example.org/v1/instances/i/contacts/p", nil)
		r.Header.Set("Cookie", cookie)
		r.Header.Set(header[0], header[1])
		if _, err := a.Authorize(r, auth.Read); status(err) != http.StatusForbidden {
			t.Errorf("DELETE with %s: %v", header, err)
		}
	}
	if res := call(http.MethodGet, "", "Cookie", cookie); res.StatusCode != http.StatusOK {
		t.Errorf("the session has ended: %s", res.Status)
	}
}

// Signing out costs the database something only if there is a session, and anybody may try it.
func TestSignOutRateLimit(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) {
		c.Limits.Failures = 0.001 // so that nothing is given back while the test runs
		c.APITokens = []string{"good"}
	})
	call := sessions(a)
	session, _, err := a.SignIn(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusTooManyRequests} {
		if res := call(http.MethodDelete, "", "Cookie", auth.Cookie+"=none"); res.StatusCode != want {
			t.Errorf("%s, want %d", res.Status, want)
		}
	}
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodGet, "/v1/instances", nil)
		r.RemoteAddr = "192.0.2.8:1"
		r.AddCookie(&http.Cookie{Name: auth.Cookie, Value: session})
		if _, err := a.Authorize(r, auth.Read); err == nil != (want == http.StatusOK) || err != nil && status(err) != want {
			t.Errorf("the session: %v, want %d", err, want)
		}
		if want == http.StatusOK {
			if res := call(http.MethodDelete, "", "Cookie", auth.Cookie+"="+session); res.StatusCode != http.StatusNoContent {
				t.Errorf("the session is not signed out: %s", res.Status)
			}
		}
	}
}

// Each sign-in writes a session, and has all of them read again.
func TestSignInRateLimit(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.APITokens = []string{"good", "another"} })
	call := sessions(a)
	var limited atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			switch res := call(http.MethodPost, `{"token":"good"}`); res.StatusCode {
			case http.StatusNoContent:
			case http.StatusTooManyRequests:
				limited.Add(1)
			default:
				t.Error(res.Status)
			}
		})
	}
	wg.Wait()
	if limited.Load() == 0 {
		t.Error("a token signed in 200 times at once")
	}
	if res := call(http.MethodPost, `{"token":"another"}`); res.StatusCode != http.StatusNoContent {
		t.Errorf("another token: %s", res.Status)
	}
}
