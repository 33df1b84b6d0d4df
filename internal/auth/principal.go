package auth

import (
	"context"
	"slices"
	"time"
)

// Principal is the holder of a request's token, or anybody if none is needed.
type Principal struct {
	a       *Authenticator
	token   *Token // nil: anybody
	session *digest
}

// Anybody reports whether the request needed no token. It may be called on nil.
func (p *Principal) Anybody() bool { return p != nil && p.token == nil }

// Key identifies a principal for limits: its token, or "" if none is needed.
func (p *Principal) Key() string {
	if p.token == nil {
		return ""
	}
	return string(p.token.digest[:])
}

// Name is the name of the token; "" if none is needed.
func (p *Principal) Name() string {
	if p.token == nil {
		return ""
	}
	return p.token.Name
}

// Has reports whether the principal has a scope. Erase and Admin always need a token.
func (p *Principal) Has(scope Scope) bool {
	if p.token == nil {
		return scope != Erase && scope != Admin
	}
	return p.token.permits(scope)
}

// Instances returns the instances that the principal is limited to; nil means all.
func (p *Principal) Instances() []string {
	if p.token == nil {
		return nil
	}
	return p.token.Instances
}

// MaySee reports whether the principal may see an instance. Otherwise, respond as if the instance did not exist.
func (p *Principal) MaySee(instanceID string) bool {
	bound := p.Instances()
	return bound == nil || slices.Contains(bound, instanceID)
}

// Valid reports whether the principal would be authorized again: its token is not revoked or expired, and its session is not
// signed out. It reads only memory. Streams must call it at least once a second, or use Context.
func (p *Principal) Valid() bool {
	k := p.a.known.Load()
	if p.token == nil {
		return p.a.config.Open && !k.api
	}
	now := p.a.config.Now()
	if p.session != nil {
		if s, ok := k.sessions[*p.session]; !ok || !now.Before(s.expires) {
			return false
		}
	}
	t := k.tokens[p.token.digest]
	return t != nil && t.Active(now)
}

// Context returns a copy of ctx that ends when the principal is no longer valid.
func (p *Principal) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		ticks := time.Tick(refreshInterval)
		for p.Valid() {
			select {
			case <-ticks:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}
