package auth

import (
	"context"
	"slices"
	"time"
)

// Principal is the origin of a request: the holder of a token, or anybody where none is needed.
type Principal struct {
	a       *Authenticator
	token   *Token // nil: anybody
	session *digest
}

// Anybody says that no token is needed, so that the principal may be anybody on this machine. It may be called on nil.
func (p *Principal) Anybody() bool { return p != nil && p.token == nil }

// Key identifies a principal for limits: its token, or "" for all that need none.
func (p *Principal) Key() string {
	if p.token == nil {
		return ""
	}
	return string(p.token.digest[:])
}

// Name is the name of the token; "" where none is needed.
func (p *Principal) Name() string {
	if p.token == nil {
		return ""
	}
	return p.token.Name
}

// Has says whether the principal has a scope. What deletes and administers always needs a token.
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

// MaySee says whether the principal may know of an instance. For one that it may not see, respond as if it did not exist.
func (p *Principal) MaySee(instanceID string) bool {
	bound := p.Instances()
	return bound == nil || slices.Contains(bound, instanceID)
}

// Valid says whether the principal would be authorized again: its token is not revoked and has not expired, and its
// session has not signed out. It reads memory only. Streams that stay open must ask at least once a second, or use Context.
func (p *Principal) Valid() bool {
	k := p.a.known.Load()
	if p.token == nil {
		return p.a.open && !k.api
	}
	now := p.a.now()
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
		ticks := time.NewTicker(refreshInterval)
		defer ticks.Stop()
		for p.Valid() {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}
