package auth

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/problem"
)

const maxName = 128 // bytes of the name of a token

// Create stores a new token and returns its secret, which is not stored. It uses Name, Scopes, Instances and ExpiresAt of t.
func Create(ctx context.Context, conn db.DBTX, t Token) (secret string, err error) {
	if err := checkScopes(t.Scopes); err != nil {
		return "", err
	}
	if err := checkName("name", t.Name); err != nil {
		return "", err
	}
	for _, instance := range t.Instances {
		if err := checkName("instance", instance); err != nil {
			return "", err
		}
	}
	secret = newSecret(letter(t.Scopes))
	hash := digestOf(secret)
	scopes := make([]string, len(t.Scopes))
	for i, s := range t.Scopes {
		scopes[i] = string(s)
	}
	params := db.CreateTokenParams{Name: t.Name, Digest: hash[:], Scopes: scopes, Instances: t.Instances}
	if t.ExpiresAt != nil {
		params.ExpiresAt = postgres.Time(*t.ExpiresAt)
	}
	n, err := db.New(conn).CreateToken(ctx, params)
	if err == nil && n == 0 {
		err = fmt.Errorf("there is an active token %q already", t.Name)
	}
	return secret, err
}

func checkName(what, s string) error {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("the %s of a token must have 1 to %d bytes of UTF-8 without control characters", what, maxName)
	}
	return nil
}

// List returns all tokens, including inactive ones.
func List(ctx context.Context, conn db.DBTX) ([]Token, error) {
	rows, err := db.New(conn).ListTokens(ctx)
	list := make([]Token, len(rows))
	for i, r := range rows {
		list[i] = Token{
			ID: r.ID, Name: r.Name, Instances: r.Instances, CreatedAt: r.CreatedAt.Time.UTC(), ExpiresAt: postgres.TimeOrNil(r.ExpiresAt),
			RevokedAt: postgres.TimeOrNil(r.RevokedAt), LastUsedAt: postgres.TimeOrNil(r.LastUsedAt), LastUsedFrom: r.LastUsedFrom,
			digest: digest(r.Digest),
		}
		for _, s := range r.Scopes {
			list[i].Scopes = append(list[i].Scopes, Scope(s))
		}
	}
	return list, err
}

// Rotate gives a token a new secret, which it returns. The old secret stays valid for the time of overlap.
func Rotate(ctx context.Context, pool *pgxpool.Pool, name string, overlap time.Duration) (secret string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		tokens, err := List(ctx, tx)
		if err != nil {
			return err
		}
		for _, t := range tokens {
			if t.Name == name {
				secret = newSecret(letter(t.Scopes))
			}
		}
		hash := digestOf(secret)
		n, err := q.RotateToken(ctx, db.RotateTokenParams{Digest: hash[:], Name: name})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("there is no active token %q", name)
		}
		return q.ExpireOldTokens(ctx, db.ExpireOldTokensParams{
			Overlap: pgtype.Interval{Microseconds: overlap.Microseconds(), Valid: true}, Name: name, Digest: hash[:],
		})
	})
	return secret, err
}

// Revoke ends a token, with all its secrets. Services notice within a second.
func Revoke(ctx context.Context, conn db.DBTX, name string) error {
	n, err := db.New(conn).RevokeTokens(ctx, name)
	if err == nil && n == 0 {
		err = fmt.Errorf("there is no active token %q", name)
	}
	return err
}

const (
	sessionLength = 30 * 24 * time.Hour
	maxSessions   = 100 // of a token; the oldest are deleted
	signInRate    = 1   // per second and token: each writes to the database
)

// SignIn starts a browser session for a token that may read or follow the live feed, and returns the session's secret.
func (a *Authenticator) SignIn(ctx context.Context, token string) (session string, expires time.Time, err error) {
	p, err := a.find(ctx, token)
	if err != nil {
		return "", expires, err
	}
	if !p.Has(Read) && !p.Has(Live) {
		return "", expires, forbidden(Read)
	}
	if err := a.signIns.take(p.Key()); err != nil {
		return "", expires, err
	}
	session, expires = newSecret("s"), a.config.Now().Add(sessionLength)
	hash, q := digestOf(session), db.New(a.config.Pool)
	if err = q.CreateSession(ctx, db.CreateSessionParams{
		Digest: hash[:], TokenDigest: p.token.digest[:], ExpiresAt: postgres.Time(expires),
	}); err == nil {
		err = q.DeleteOldSessions(ctx, db.DeleteOldSessionsParams{TokenDigest: p.token.digest[:], Keep: maxSessions})
	}
	if err == nil {
		err = a.Refresh(ctx)
	}
	if err != nil {
		a.config.Log.Error("signing in", "error", err)
		return "", expires, problem.Unavailable("Signing in is not possible at the moment; try again later.")
	}
	return session, expires, nil
}

// SignOut ends a session and its open streams.
func (a *Authenticator) SignOut(ctx context.Context, session string) error {
	hash := digestOf(session)
	err := db.New(a.config.Pool).DeleteSession(ctx, hash[:])
	if err == nil {
		err = a.Refresh(ctx)
	}
	if err != nil {
		a.config.Log.Error("signing out", "error", err)
		return problem.Unavailable("Signing out is not possible at the moment; try again later.")
	}
	return nil
}
