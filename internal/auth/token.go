package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Scope is what a token permits.
type Scope string

// The scopes. Admin includes Read, Live and Erase. Webhook cannot be combined: its tokens are in URLs and in settings of
// gateways, and must permit nothing else.
const (
	Read    Scope = "read"    // reading the history
	Live    Scope = "live"    // the live feed
	Webhook Scope = "webhook" // sending events
	Erase   Scope = "erase"   // deleting contacts
	Admin   Scope = "admin"   // administration
)

// Scopes are all scopes.
func Scopes() []Scope { return []Scope{Read, Live, Webhook, Erase, Admin} }

const (
	prefix       = "plog_"
	randomDigits = 30
	checkDigits  = 6
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// letter returns the letter of the most powerful scope.
func letter(scopes []Scope) string {
	for _, s := range []Scope{Admin, Erase, Read, Live} {
		if slices.Contains(scopes, s) {
			return string(s[0])
		}
	}
	return "w"
}

// newSecret returns plog_, a letter for its kind (s for a session), _, 30 random base62 characters and 6 of a CRC-32 of all of
// these, so that scanners can recognize real tokens.
func newSecret(letter string) string {
	var b strings.Builder
	b.WriteString(prefix + letter + "_")
	for range randomDigits {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(base62)))) // never fails
		b.WriteByte(base62[n.Int64()])
	}
	return b.String() + checksum(b.String())
}

func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var digits [checkDigits]byte
	for i := range digits {
		digits[checkDigits-1-i] = base62[n%62]
		n /= 62
	}
	return string(digits[:])
}

// wellFormed reports whether newSecret can have returned a secret.
func wellFormed(secret string) bool {
	const length = len(prefix) + len("r_") + randomDigits + checkDigits
	if len(secret) != length || !strings.HasPrefix(secret, prefix) {
		return false
	}
	body := secret[:length-checkDigits]
	return secret[length-checkDigits:] == checksum(body)
}

type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// checkScopes returns an error unless a token may have all of these scopes.
func checkScopes(scopes []Scope) error {
	if len(scopes) == 0 {
		return fmt.Errorf("a token needs a scope")
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("%q is not a scope", s)
		}
	}
	if len(scopes) > 1 && slices.Contains(scopes, Webhook) {
		return fmt.Errorf("scope webhook cannot be combined with others: its token is written into URLs")
	}
	return nil
}

// Token describes a token. Its secret is not stored.
type Token struct {
	ID           int32      `json:"-"`
	Name         string     `json:"name"`
	Scopes       []Scope    `json:"scopes"`
	Instances    []string   `json:"instances"` // nil: all
	CreatedAt    time.Time  `json:"createdAt"`
	ExpiresAt    *time.Time `json:"expiresAt"`
	RevokedAt    *time.Time `json:"revokedAt"`
	LastUsedAt   *time.Time `json:"lastUsedAt"`
	LastUsedFrom *string    `json:"lastUsedFrom"`

	digest digest
}

// permits reports whether the token has a scope.
func (t *Token) permits(scope Scope) bool {
	return slices.Contains(t.Scopes, scope) || scope != Webhook && slices.Contains(t.Scopes, Admin)
}

// Active reports whether the token is neither revoked nor expired.
func (t *Token) Active(now time.Time) bool {
	return t.RevokedAt == nil && (t.ExpiresAt == nil || now.Before(*t.ExpiresAt))
}
