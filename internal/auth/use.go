package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
)

// use is the last use of a token.
type use struct {
	at   time.Time
	from string
}

func (a *Authenticator) used(p *Principal, r *http.Request) {
	if p.token == nil || p.token.ID == 0 {
		return
	}
	now := a.config.Now()
	a.usesMu.Lock()
	defer a.usesMu.Unlock()
	if now.Sub(a.uses[p.token.ID].at).Abs() >= time.Second { // not on each of thousands of requests
		a.uses[p.token.ID] = use{now, a.Client(r)}
	}
}

// WriteUses stores when and from where tokens were last used.
func (a *Authenticator) WriteUses(ctx context.Context) {
	a.usesMu.Lock()
	uses := a.uses
	a.uses = map[int32]use{}
	a.usesMu.Unlock()
	if len(uses) == 0 {
		return
	}
	var p db.RecordTokenUseParams
	for id, u := range uses {
		p.Ids, p.UsedAts, p.UsedFroms = append(p.Ids, id), append(p.UsedAts, postgres.Time(u.at)), append(p.UsedFroms, u.from)
	}
	if err := db.New(a.config.Pool).RecordTokenUse(ctx, p); err != nil && ctx.Err() == nil {
		a.config.Log.Warn("recording the last use of tokens", "error", err)
	}
}
