package archive

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/presencelog/presencelog/db"
)

// pseudonymPrefix marks pseudonyms, so that an import can refuse them.
const pseudonymPrefix = "pseudonym:"

// pseudonyms computes the pseudonym of a phone, a keyed hash.
type pseudonyms struct{ key []byte }

// newPseudonyms derives its key from the key of erasures.
func newPseudonyms(ctx context.Context, conn db.DBTX) (pseudonyms, error) {
	key, err := db.New(conn).ErasureKey(ctx)
	return pseudonyms{hmacOf(key, "\x00pseudonyms")}, err // no instance or phone has a NUL
}

func (p pseudonyms) of(phone string) string {
	return pseudonymPrefix + hex.EncodeToString(hmacOf(p.key, phone)[:16])
}

func isPseudonym(phone string) bool { return strings.HasPrefix(phone, pseudonymPrefix) }

func hmacOf(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
