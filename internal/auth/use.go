package auth

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/presencelog/presencelog/db"
)

// use is the last use of a token.
type use struct {
	at   atomic.Int64 // Unix microseconds
	from atomic.Pointer[string]
}

func (a *Authenticator) used(p *Principal, r *http.Request) {
	if p.token == nil || p.token.ID == 0 {
		return
	}
	v, ok := a.uses.Load(p.token.ID)
	if !ok {
		v, _ = a.uses.LoadOrStore(p.token.ID, &use{})
	}
	u, now := v.(*use), a.now()
	if now.UnixMicro()-u.at.Load() < time.Second.Microseconds() { // not on each of thousands of requests
		return
	}
	from := a.Client(r)
	u.from.Store(&from)
	u.at.Store(now.UnixMicro())
}

// WriteUses stores when and from where tokens were last used.
func (a *Authenticator) WriteUses(ctx context.Context) {
	var p db.RecordTokenUseParams
	a.uses.Range(func(id, v any) bool {
		u := v.(*use)
		if at := u.at.Load(); at != 0 {
			p.Ids = append(p.Ids, id.(int32))
			p.UsedAts = append(p.UsedAts, db.Time(time.UnixMicro(at)))
			p.UsedFroms = append(p.UsedFroms, *u.from.Load())
		}
		a.uses.Delete(id)
		return true
	})
	if len(p.Ids) == 0 {
		return
	}
	if err := db.New(a.pool).RecordTokenUse(ctx, p); err != nil && ctx.Err() == nil {
		a.log.Warn("recording the last use of tokens", "error", err)
	}
}
