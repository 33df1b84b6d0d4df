package auth

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/presencelog/presencelog/internal/problem"
)

// Register adds the address at which browsers sign in and out: POST /session {"token": …} sets a cookie, DELETE /session ends
// the session, and GET /session says whether there is one.
func (a *Authenticator) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /session", a.signIn)
	mux.HandleFunc("DELETE /session", a.signOut)
	mux.HandleFunc("GET /session", a.showSession)
	mux.Handle("/session", problem.MethodNotAllowed(http.MethodGet, http.MethodPost, http.MethodDelete))
}

func (a *Authenticator) signIn(w http.ResponseWriter, r *http.Request) {
	if a.sites.Check(r) != nil {
		problem.Write(w, r, foreign())
		return
	}
	var body struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&body); err != nil || body.Token == "" {
		problem.New(http.StatusUnprocessableEntity, "", problem.Field{
			Location: "body.token", Message: `it must be a token: {"token": "plog_r_…"}`,
		}).ServeHTTP(w, r)
		return
	}
	session, expires, err := a.SignIn(r.Context(), body.Token)
	if err != nil {
		problem.Write(w, r, a.failed(r, err))
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: Cookie, Value: session, Path: "/", Expires: expires, HttpOnly: true, Secure: a.secure(r), SameSite: http.SameSiteStrictMode,
	})
	w.WriteHeader(http.StatusNoContent)
}

func (a *Authenticator) signOut(w http.ResponseWriter, r *http.Request) {
	if a.sites.Check(r) != nil {
		problem.Write(w, r, foreign())
		return
	}
	if cookie, err := r.Cookie(Cookie); err == nil {
		if err := a.signOutSession(r, cookie.Value); err != nil {
			problem.Write(w, r, err)
			return
		}
	}
	http.SetCookie(w, &http.Cookie{
		Name: Cookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: a.secure(r), SameSite: http.SameSiteStrictMode,
	})
	w.WriteHeader(http.StatusNoContent)
}

// signOutSession ends a session. An unknown session is not an error, and costs the database nothing, but many from one address
// are limited.
func (a *Authenticator) signOutSession(r *http.Request, secret string) error {
	_, err := a.findSession(r.Context(), secret)
	if err == nil {
		return a.SignOut(r.Context(), secret)
	}
	err = a.failed(r, err)
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusUnauthorized {
		return nil
	}
	return err
}

// showSession responds with the principal, or with 401 if a token is needed and there is none.
func (a *Authenticator) showSession(w http.ResponseWriter, r *http.Request) {
	p, err := a.identify(r)
	if err != nil {
		problem.Write(w, r, a.failed(r, err))
		return
	}
	out := struct {
		Name      string   `json:"name"` // of the token; empty if none is needed
		Scopes    []Scope  `json:"scopes"`
		Instances []string `json:"instances"` // null: all
		SignedIn  bool     `json:"signedIn"`  // by a cookie, so that it can sign out
	}{Name: p.Name(), Scopes: []Scope{}, Instances: p.Instances(), SignedIn: p.session != nil}
	for _, s := range Scopes() {
		if p.Has(s) {
			out.Scopes = append(out.Scopes, s)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the client may be gone
}

// secure reports whether the browser uses https, with us or with a proxy. A client that forges the header only affects its own
// cookie.
func (a *Authenticator) secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}
