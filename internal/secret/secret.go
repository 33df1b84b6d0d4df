// Package secret checks the secrets that clients show: webhook and API tokens.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Set holds secrets, any of which opens the door. The zero value holds none.
type Set struct{ digests [][sha256.Size]byte }

// NewSet makes a Set; empty strings are left out.
func NewSet(secrets []string) Set {
	var s Set
	for _, secret := range secrets {
		if secret != "" {
			s.digests = append(s.digests, sha256.Sum256([]byte(secret)))
		}
	}
	return s
}

// Empty says that no secret is configured, so none is asked for.
func (s Set) Empty() bool { return len(s.digests) == 0 }

// Has says whether one of the candidates is in the set. It takes the same time whichever secret is met or missed, and
// whatever part of it: digests are compared, all of them.
func (s Set) Has(candidates ...string) bool {
	found := 0
	for _, c := range candidates {
		if c == "" {
			continue
		}
		digest := sha256.Sum256([]byte(c))
		for _, d := range s.digests {
			found |= subtle.ConstantTimeCompare(d[:], digest[:])
		}
	}
	return found == 1
}
