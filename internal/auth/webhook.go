package auth

import (
	"errors"
	"net/http"

	"github.com/presencelog/presencelog/internal/problem"
)

// AuthorizeWebhook returns the sender of a callback. It looks for a token in the headers z-api-token and Client-Token, in
// ?token= and in the path. One valid token is enough, since Z-API always sends its own z-api-token. The error is a
// *problem.Problem to respond with; it may come with a Principal.
func (a *Authenticator) AuthorizeWebhook(r *http.Request) (*Principal, error) {
	k := a.known.Load()
	if a.config.Open && !k.hooks {
		if a.fileFailed && k.readAt.IsZero() {
			return nil, unknownTokens()
		}
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
		p, err := a.find(r.Context(), token)
		if err == nil && p.Has(Webhook) {
			if err := a.webhooks.take(p.Key()); err != nil {
				return p, err
			}
			a.used(p, r)
			return p, nil
		}
		if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusServiceUnavailable {
			failed = err // it may be valid
		}
	}
	return nil, a.failed(r, failed)
}
