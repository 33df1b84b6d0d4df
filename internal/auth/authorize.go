package auth

import (
	"context"
	"crypto/subtle"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/problem"
)

// Authorize returns the principal of a request if it has the scope. It accepts a token as
// "Authorization: Bearer", or the cookie of a session. The error is a *problem.Problem to respond with.
func (a *Authenticator) Authorize(r *http.Request, scope Scope) (*Principal, error) {
	p, err := a.identify(r)
	if err != nil {
		return nil, a.failed(r, err)
	}
	if !p.Has(scope) {
		if p.Anybody() {
			return nil, unauthorized()
		}
		return nil, forbidden(scope)
	}
	if p.token != nil {
		if err := a.requests.take(p.Key()); err != nil {
			return nil, err
		}
	}
	a.used(p, r)
	return p, nil
}

func (a *Authenticator) identify(r *http.Request) (*Principal, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
			return nil, unauthorized()
		}
		return a.find(r.Context(), token)
	}
	if cookie, err := r.Cookie(Cookie); err == nil {
		if a.sites.Check(r) != nil {
			return nil, foreign()
		}
		return a.findSession(r.Context(), cookie.Value)
	}
	if k := a.known.Load(); a.config.Open && k.readAt.IsZero() {
		return nil, unknownTokens()
	} else if a.config.Open && !k.api {
		if err := checkSameSite(r); err != nil {
			return nil, err
		}
		return &Principal{a: a}, nil
	}
	return nil, unauthorized()
}

func unknownTokens() error {
	return problem.Unavailable("The service cannot check at the moment whether a token is needed; try again later.")
}

// find returns the holder of a token.
func (a *Authenticator) find(ctx context.Context, token string) (*Principal, error) {
	return a.lookUp(ctx, token, func(k *known, hash digest) *Principal {
		// The map is keyed by digests, which the sender of a token cannot choose.
		if t := k.tokens[hash]; t != nil && subtle.ConstantTimeCompare(t.digest[:], hash[:]) == 1 {
			return &Principal{a: a, token: t}
		}
		return nil
	})
}

// findSession is find for the secret of a session.
func (a *Authenticator) findSession(ctx context.Context, session string) (*Principal, error) {
	return a.lookUp(ctx, session, func(k *known, hash digest) *Principal {
		if s, ok := k.sessions[hash]; ok {
			return &Principal{a: a, token: k.tokens[s.token], session: &hash}
		}
		return nil
	})
}

// lookUp looks for the principal of a secret in memory. If the secret is unknown but may be new, it reads the database again.
func (a *Authenticator) lookUp(ctx context.Context, secret string, in func(*known, digest) *Principal) (*Principal, error) {
	asked, hash := time.Now(), digestOf(secret)
	for {
		k := a.known.Load()
		if p := in(k, hash); p != nil && p.token != nil && p.Valid() {
			return p, nil
		} else if p != nil || !wellFormed(secret) || !k.readAt.Before(asked) {
			return nil, unauthorized()
		}
		if err := a.refresh(ctx, asked); err != nil || a.known.Load().readAt.Before(asked) {
			return nil, problem.Unavailable("The token or session cannot be checked at the moment; try again later.")
		}
	}
}

func unauthorized() *problem.Problem {
	p := problem.New(http.StatusUnauthorized,
		"The API token is missing, wrong, expired or revoked; send it as Authorization: Bearer <token>.")
	p.Header = http.Header{"Www-Authenticate": {"Bearer"}}
	return p
}

func forbidden(scope Scope) *problem.Problem {
	return problem.New(http.StatusForbidden, "The token does not have the scope "+string(scope)+".")
}

// Protection says what protects a scope.
type Protection int

// A scope is protected by tokens; open, since only this machine can reach the service; or closed, since there is no token for
// it.
const (
	ByToken Protection = iota
	Open
	Closed
)

// Protection returns what protects a scope now.
func (a *Authenticator) Protection(scope Scope) Protection {
	k := a.known.Load()
	exists := k.api
	if scope == Webhook {
		exists = k.hooks
	}
	switch {
	case !exists && a.config.Open:
		return Open
	case !slices.ContainsFunc(slices.Collect(maps.Values(k.tokens)), func(t *Token) bool { return t.permits(scope) && t.Active(a.config.Now()) }):
		return Closed
	}
	return ByToken
}

type contextKey struct{}

// Require passes requests with the scope to next, which gets their principal with FromContext.
func (a *Authenticator) Require(scope Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Authorize(r, scope)
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		*r = *r.WithContext(context.WithValue(r.Context(), contextKey{}, p)) // in place: the route of a copy would not be counted
		next.ServeHTTP(w, r)
	})
}

// FromContext returns the principal of a request that Require passed on. Without Require it panics.
func FromContext(ctx context.Context) *Principal { return ctx.Value(contextKey{}).(*Principal) }
