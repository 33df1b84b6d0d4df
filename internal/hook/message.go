package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/presencelog/presencelog/internal/live"
)

// Message is the body of a message.
type Message struct {
	Type      string     `json:"type" doc:"What has happened: contact.typing, contact.recording, contact.idle, contact.available or contact.unavailable" enum:"contact.typing,contact.recording,contact.idle,contact.available,contact.unavailable"`
	Timestamp time.Time  `json:"timestamp" doc:"When it happened"`
	Data      live.State `json:"data" doc:"What the contact does since then"`
}

// messageID returns the id of the message about a change. It depends only on the change, so that a change that is read twice is
// queued once.
func messageID(change *live.Message, kind Kind) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %d", change.InstanceID, change.Phone, kind, change.Since.UnixMicro()))
	return "msg_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:15]))
}

// bodyOf returns the message about a change as it is sent. It escapes strings as to_json does, as little as possible: an erasure finds the
// messages of a contact by text.
func bodyOf(change *live.Message, kind Kind) string {
	body, err := json.Marshal(Message{Type: "contact." + string(kind), Timestamp: change.Since, Data: change.State})
	if err != nil {
		panic(err) // strings and times of four-digit years
	}
	return string(body)
}

// sign returns the header webhook-signature.
func sign(secret, id string, at time.Time, body string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return "", fmt.Errorf("the hook's secret: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
