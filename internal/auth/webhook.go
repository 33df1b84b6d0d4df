package auth

import (
	"errors"
	"net/http"

	"github.com/presencelog/presencelog/internal/problem"
)

// AuthorizeWebhook returns who sends a callback. It looks for a token everywhere that a gateway can be made to put one:
// the headers z-api-token and Client-Token, ?token= and the path. Z-API always sends a z-api-token, though perhaps not
// ours, so one right token is enough. The error is a *problem.Problem to respond with; there may be a Principal all the same, whose error it is.
func (a *Authenticator) AuthorizeWebhook(r *http.Request) (*Principal, error) {
	k := a.known.Load()
	if a.open && !k.hooks {
		return &Principal{a: a}, checkSender(r)
	}
	candidates := [4]string{r.Header.Get("Z-Api-Token"), r.Header.Get("Client-Token"), "", r.PathValue("token")}
	if r.URL.RawQuery != "" {
		candidates[2] = r.URL.Query().Get("token")
	}
	var failed error = problem.New(http.StatusUnauthorized, "The webhook's token is missing, wrong, expired or revoked. "+
		"Send it as z-api-token or Client-Token header, as ?token= or as the last part of the path.")
	for _, token := range candidates {
		if token == "" {
			continue
		}
		p, err := a.find(r.Context(), digestOf(token), wellFormed(token))
		switch {
		case err == nil && p.Has(Webhook):
			if err := a.webhooks.take(p.Key()); err != nil {
				return p, err
			}
			a.used(p, r)
			return p, nil
		default:
			if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusServiceUnavailable {
				failed = err // it may be right
			}
		}
	}
	return nil, a.failed(r, failed)
}
