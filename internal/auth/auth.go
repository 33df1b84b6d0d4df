// Package auth authorizes HTTP requests for packages webhook and api, by tokens from the database and the environment, and by
// sessions of browsers. It keeps all of them in memory, so that webhooks are authorized while the database is unavailable, and
// reads them again twice a second.
package auth

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
)

const (
	refreshInterval    = 500 * time.Millisecond
	minRefreshInterval = 50 * time.Millisecond // even if many unknown tokens are sent
	useInterval        = 30 * time.Second      // between writes of the last use of tokens
)

// Cookie is the name of the cookie that holds a browser's session.
const Cookie = "presencelog_session"

// Config is what an Authenticator needs.
type Config struct {
	Pool          *pgxpool.Pool
	WebhookTokens []string // from the environment; scope Webhook, all instances
	APITokens     []string // from the environment; scopes Read and Live, all instances
	// Open authorizes requests without a token while there are no tokens, for a service that only this machine can reach.
	Open bool
	// File stores digests of the webhook tokens, for a start while the database is unavailable; "": no file.
	File    string
	Limits  Limits
	Proxies []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto are trusted
	Timeout time.Duration  // for reading the tokens, while requests with unknown ones wait; zero: a second
	Log     *slog.Logger
	Now     func() time.Time
}

// Authenticator authorizes requests. It may be used by many goroutines.
type Authenticator struct {
	config Config
	env    []*Token

	known  atomic.Pointer[known]
	usesMu sync.Mutex
	uses   map[int32]use // by the token's id; not stored yet

	mu        sync.Mutex // held while reading the database
	attempted time.Time  // when the last read started, by the monotonic clock

	webhooks, requests, failures, signIns *limiter

	sites      *http.CrossOriginProtection
	inFile     []byte
	fileFailed bool // it may have tokens that could not be read
	fileErrors rate.Sometimes
}

// known has all tokens and sessions. It is never changed, only replaced.
type known struct {
	tokens     map[digest]*Token
	sessions   map[digest]session
	hooks, api bool      // there are tokens of these kinds, including expired and revoked ones
	readAt     time.Time // when the database was last read; zero: never
}

type session struct {
	token   digest
	expires time.Time
}

// New returns an Authenticator with the tokens from the environment. Run reads the others.
func New(c Config) *Authenticator {
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	a := &Authenticator{
		config: c, sites: http.NewCrossOriginProtection(), uses: map[int32]use{},
		webhooks: newLimiter(c.Limits.Webhooks), requests: newLimiter(c.Limits.API), failures: newLimiter(c.Limits.Failures),
		signIns: newLimiter(signInRate), fileErrors: rate.Sometimes{Interval: time.Minute},
	}
	add := func(secrets []string, scopes ...Scope) {
		for _, s := range secrets {
			if s != "" {
				a.env = append(a.env, &Token{Name: "environment", Scopes: scopes, digest: digestOf(s)})
			}
		}
	}
	add(c.WebhookTokens, Webhook)
	add(c.APITokens, Read, Live)
	a.know(a.readFile(), nil, time.Time{})
	return a
}

func (a *Authenticator) know(tokens []Token, sessions map[digest]session, at time.Time) {
	k := &known{tokens: map[digest]*Token{}, sessions: sessions, readAt: at}
	for i := range tokens {
		k.add(&tokens[i])
	}
	for _, t := range a.env {
		k.add(t)
	}
	a.known.Store(k)
}

func (k *known) add(t *Token) {
	hook := slices.Contains(t.Scopes, Webhook)
	k.hooks, k.api = k.hooks || hook, k.api || !hook
	if other := k.tokens[t.digest]; other != nil { // one secret for both kinds, from the environment
		t = &Token{Name: t.Name, Scopes: slices.Concat(other.Scopes, t.Scopes), digest: t.digest}
	}
	k.tokens[t.digest] = t
}

// Run keeps tokens and sessions current until ctx ends.
func (a *Authenticator) Run(ctx context.Context) {
	failures := rate.Sometimes{Interval: time.Minute}
	refresh, uses := time.Tick(refreshInterval), time.Tick(useInterval)
	for {
		select {
		case <-refresh:
			// While the database is unavailable, nothing changes.
			if err := a.Refresh(ctx); err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
				failures.Do(func() { a.config.Log.Warn("reading tokens", "error", err) })
			}
		case <-uses:
			a.WriteUses(ctx)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.Timeout)
			defer cancel()
			a.WriteUses(end)
			return
		}
	}
}

// Refresh reads tokens and sessions from the database.
func (a *Authenticator) Refresh(ctx context.Context) error { return a.refresh(ctx, time.Now()) }

// refresh reads tokens and sessions unless a read started after since. So many callers share one read.
func (a *Authenticator) refresh(ctx context.Context, since time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempted.After(since) {
		return nil
	}
	time.Sleep(minRefreshInterval - time.Since(a.attempted))
	begun := time.Now()
	a.attempted = begun
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.Timeout)
	defer cancel()
	tokens, err := List(ctx, a.config.Pool)
	if err != nil {
		return err
	}
	rows, err := db.New(a.config.Pool).ListSessions(ctx)
	if err != nil {
		return err
	}
	sessions := make(map[digest]session, len(rows))
	for _, r := range rows {
		sessions[digest(r.Digest)] = session{digest(r.TokenDigest), r.ExpiresAt.Time}
	}
	a.know(tokens, sessions, begun)
	a.writeFile(tokens)
	return nil
}
