package auth_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// running returns an Authenticator on a pool that is kept current.
func running(t *testing.T, pool *pgxpool.Pool, change ...func(*auth.Config)) *auth.Authenticator {
	t.Helper()
	c := auth.Config{Pool: pool, Timeout: pgtest.Timeout, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: presence.Now}
	for _, f := range change {
		f(&c)
	}
	a := auth.New(c)
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { a.Run(t.Context()); close(ended) }()
	t.Cleanup(func() { <-ended })
	return a
}

func create(t *testing.T, pool *pgxpool.Pool, token auth.Token) string {
	t.Helper()
	secret, err := auth.Create(t.Context(), pool, token)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func bearer(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/instances", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return err.(*problem.Problem).Status
}

// says reports whether an error's message contains a part.
func says(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }

func TestScopesPermitTheirOperations(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool)
	for name, permitted := range map[string]string{
		"read": "read", "live": "live", "erase": "erase", "admin": "read live erase admin", "read,live": "read live", "webhook": "webhook",
	} {
		var scopes []auth.Scope
		for s := range strings.SplitSeq(name, ",") {
			scopes = append(scopes, auth.Scope(s))
		}
		secret := create(t, pool, auth.Token{Name: name, Scopes: scopes}) // used at once, before the next refresh
		if !regexp.MustCompile(`^plog_[aelrsw]_[0-9A-Za-z]{36}$`).MatchString(secret) {
			t.Errorf("%s does not match the documented pattern", secret)
		}
		for _, scope := range auth.Scopes() {
			want := http.StatusForbidden
			if strings.Contains(" "+permitted+" ", " "+string(scope)+" ") {
				want = http.StatusOK
			}
			if _, err := a.Authorize(bearer(secret), scope); status(err) != want {
				t.Errorf("%s for %s: %v, want %d", name, scope, err, want)
			}
		}
	}
}

func TestWrongTokensAreRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.APITokens = []string{"from the environment"} })
	secret := create(t, pool, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.Read}})
	other := strings.Replace(secret, "_r_", "_a_", 1)
	for _, token := range []string{
		"", " ", "wrong", secret[:len(secret)-1], secret + "0", strings.ToLower(secret), other, secret + "," + secret, "plog_", secret[5:],
		"plog_r_000000000000000000000000000000" + secret[37:], strings.Repeat("x", 10_000), "\x00", "' OR true --",
	} {
		if _, err := a.Authorize(bearer(token), auth.Read); status(err) != http.StatusUnauthorized {
			t.Errorf("%q: %v", token, err)
		}
	}
	for _, token := range []string{secret, "from the environment"} {
		if _, err := a.Authorize(bearer(token), auth.Read); err != nil {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	now := presence.Now()
	a := running(t, pool, func(c *auth.Config) { c.Now = func() time.Time { return now } })
	expires := now.Add(time.Hour)
	secret := create(t, pool, auth.Token{Name: "guest", Scopes: []auth.Scope{auth.Read}, ExpiresAt: &expires})
	p, err := a.Authorize(bearer(secret), auth.Read)
	if err != nil || !p.Valid() {
		t.Fatal(err)
	}
	now = expires
	if _, err := a.Authorize(bearer(secret), auth.Read); status(err) != http.StatusUnauthorized || p.Valid() {
		t.Errorf("after its expiry: %v, valid %t", err, p.Valid())
	}
}

func TestRevocationEndsOpenStreams(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool)
	secret := create(t, pool, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.Live}})
	p, err := a.Authorize(bearer(secret), auth.Live)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := p.Context(t.Context())
	defer cancel()
	if err := auth.Revoke(t.Context(), pool, "reader"); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if _, err := a.Authorize(bearer(secret), auth.Live); status(err) != http.StatusUnauthorized || p.Valid() {
		t.Errorf("after it was revoked: %v, valid %t", err, p.Valid())
	}
	if err := auth.Revoke(t.Context(), pool, "reader"); !says(err, `no active token "reader"`) {
		t.Errorf("it was revoked twice: %v", err)
	}
}

func TestRotationKeepsBothSecretsForAWhile(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var ahead time.Duration
	a := running(t, pool, func(c *auth.Config) { c.Now = func() time.Time { return presence.Now().Add(ahead) } })
	old := create(t, pool, auth.Token{Name: "app", Scopes: []auth.Scope{auth.Read}, Instances: []string{"i"}})
	_, err := auth.Create(t.Context(), pool, auth.Token{Name: "app", Scopes: []auth.Scope{auth.Read}})
	if !says(err, `active token "app" already`) {
		t.Errorf("a second active token with the same name: %v", err)
	}
	current, err := auth.Rotate(t.Context(), pool, "app", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{old, current} {
		p, err := a.Authorize(bearer(secret), auth.Read)
		if err != nil || !p.MaySee("i") || p.MaySee("j") {
			t.Errorf("%v", err)
		}
	}
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ahead = 2 * time.Hour
	if _, err := a.Authorize(bearer(old), auth.Read); status(err) != http.StatusUnauthorized {
		t.Errorf("the old secret after the overlap: %v", err)
	}
	if _, err := a.Authorize(bearer(current), auth.Read); err != nil {
		t.Errorf("the new secret: %v", err)
	}
	if _, err := auth.Rotate(t.Context(), pool, "nobody", time.Hour); !says(err, `no active token "nobody"`) {
		t.Errorf("a token that does not exist was rotated: %v", err)
	}
}

func TestInvalidTokensAreRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	read := []auth.Scope{auth.Read}
	for want, tokens := range map[string][]auth.Token{
		"the name of a token must": {
			{Name: "", Scopes: read}, {Name: "a\nb", Scopes: read}, {Name: "\x1b[2J", Scopes: read}, {Name: "a\x00", Scopes: read},
			{Name: "\xff", Scopes: read}, {Name: strings.Repeat("a", 129), Scopes: read},
		},
		"needs a scope":                {{Name: "a"}},
		`"root" is not a scope`:        {{Name: "a", Scopes: []auth.Scope{"root"}}},
		"cannot be combined":           {{Name: "a", Scopes: []auth.Scope{auth.Webhook, auth.Read}}},
		"the instance of a token must": {{Name: "a", Scopes: read, Instances: []string{""}}},
	} {
		for _, token := range tokens {
			if _, err := auth.Create(t.Context(), pool, token); !says(err, want) {
				t.Errorf("%+v: %v, want %q", token, err, want)
			}
		}
	}
	if list, err := auth.List(t.Context(), pool); err != nil || len(list) != 0 {
		t.Errorf("%d tokens (%v)", len(list), err)
	}
}

func TestSecretsAreNotStored(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool)
	secret := create(t, pool, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.Read}})
	session, _, err := a.SignIn(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	stored := pgtest.Get[string](t, pool, "SELECT (SELECT string_agg(t::text, ' ') FROM tokens AS t) || (SELECT string_agg(s::text, ' ') FROM sessions AS s)")
	for _, s := range []string{secret, session} {
		if strings.Contains(stored, s) || strings.Contains(stored, s[7:]) {
			t.Errorf("the database has %s", s)
		}
	}
}

func TestLastUseIsRecorded(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := auth.New(auth.Config{Pool: pool, Timeout: pgtest.Timeout, Log: slog.New(slog.DiscardHandler), Now: presence.Now})
	secret := create(t, pool, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.Read}})
	before := presence.Now()
	if _, err := a.Authorize(bearer(secret), auth.Read); err != nil {
		t.Fatal(err)
	}
	a.WriteUses(t.Context())
	list, err := auth.List(t.Context(), pool)
	if err != nil || len(list) != 1 || list[0].LastUsedAt == nil || list[0].LastUsedAt.Before(before) || *list[0].LastUsedFrom != "192.0.2.1" {
		t.Errorf("%+v, %v", list, err)
	}
}

// While the database is unavailable, known tokens still work, and unknown ones do not count as wrong.
func TestTokensWorkWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	file := filepath.Join(t.TempDir(), "tokens.json")
	a := running(t, pool, func(c *auth.Config) { c.File = file })
	hook := create(t, pool, auth.Token{Name: "gateway", Scopes: []auth.Scope{auth.Webhook}, Instances: []string{"i"}})
	unknown := create(t, pgtest.New(t), auth.Token{Name: "elsewhere", Scopes: []auth.Scope{auth.Webhook}})
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	restarted := auth.New(auth.Config{Pool: gone, File: file, Open: true, Log: slog.New(slog.DiscardHandler), Now: presence.Now})
	post := func(token string) (*auth.Principal, error) {
		r := httptest.NewRequest(http.MethodPost, "/webhooks/zapi", nil)
		r.Header.Set("Z-Api-Token", token)
		return restarted.AuthorizeWebhook(r)
	}
	if p, err := post(hook); err != nil || !p.MaySee("i") || p.MaySee("j") {
		t.Errorf("the known token: %v", err)
	}
	if _, err := post("wrong"); status(err) != http.StatusUnauthorized {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := post(unknown); status(err) != http.StatusServiceUnavailable {
		t.Errorf("a token that may be new: %v", err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://localhost/v1/instances", nil)
	if _, err := restarted.Authorize(r, auth.Read); status(err) != http.StatusServiceUnavailable {
		t.Errorf("the API before it is known whether there are tokens: %v", err)
	}
	// Without the tokens of the file, nobody knows whether one is needed.
	damaged := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(damaged, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	restarted = auth.New(auth.Config{Pool: gone, File: damaged, Open: true, Log: slog.New(slog.DiscardHandler), Now: presence.Now})
	if _, err := post(hook); status(err) != http.StatusServiceUnavailable {
		t.Errorf("a damaged file: %v", err)
	}
	content, err := os.ReadFile(file)
	if info, _ := os.Stat(file); err != nil || strings.Contains(string(content), hook) || info.Mode().Perm() != 0o600 {
		t.Errorf("the file %s, %v", content, err)
	}
}

// That the last token is revoked or expires opens nothing.
func TestLastTokenRevoked(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	a := running(t, pool, func(c *auth.Config) { c.Open = true })
	local := httptest.NewRequest(http.MethodGet, "http://localhost/v1/instances", nil)
	anybody, err := a.Authorize(local, auth.Read)
	if err != nil || !anybody.Valid() {
		t.Fatal(err)
	}
	for _, scope := range []auth.Scope{auth.Read, auth.Webhook} {
		create(t, pool, auth.Token{Name: "only " + string(scope), Scopes: []auth.Scope{scope}})
		if err := auth.Revoke(t.Context(), pool, "only "+string(scope)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authorize(local, auth.Read); status(err) != http.StatusUnauthorized || anybody.Valid() {
		t.Errorf("the API: %v", err)
	}
	if _, err := a.AuthorizeWebhook(httptest.NewRequest(http.MethodPost, "/webhooks/zapi", nil)); status(err) != http.StatusUnauthorized {
		t.Errorf("the webhook: %v", err)
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add("plog_r_000000000000000000000000000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if auth.WellFormed(s) && !regexp.MustCompile(`^plog_._.{36}$`).MatchString(s) {
			t.Errorf("%q is well-formed", s)
		}
	})
}
