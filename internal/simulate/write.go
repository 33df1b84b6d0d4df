package simulate

import (
	"bytes"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/presencelog/presencelog/internal/presence"
)

// AppendBody appends the body that Z-API POSTs for an event. A byte of InstanceID or Phone that is not UTF-8 becomes U+FFFD.
func AppendBody(b []byte, e presence.Event) []byte {
	return append(appendFields(b, e), '}')
}

// AppendNDJSON appends an event as one line of an import: the body, receivedAt added, and a newline.
func AppendNDJSON(b []byte, e presence.Event) []byte {
	b = append(appendFields(b, e), `,"receivedAt":"`...)
	return append(appendTime(b, e.ReceivedAt.UTC()), "\"}\n"...)
}

// appendFields appends the body without its closing brace.
func appendFields(b []byte, e presence.Event) []byte {
	b = append(b, `{"type":"PresenceChatCallback","phone":`...)
	b, _ = jsontext.AppendQuote(b, e.Phone) // the error only tells of bytes that are not UTF-8
	b = append(b, `,"status":"`...)
	b = append(b, e.Status.String()...)
	b = append(b, `","lastSeen":`...)
	if e.LastSeen == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *e.LastSeen, 10)
	}
	b = append(b, `,"instanceId":`...)
	b, _ = jsontext.AppendQuote(b, e.InstanceID)
	extra := bytes.TrimSpace(e.Extra)
	if len(extra) < 2 {
		return b
	}
	if members := bytes.TrimSpace(extra[1 : len(extra)-1]); len(members) > 0 { // the object without its braces
		b = append(b, ',')
		b = append(b, members...)
	}
	return b
}

// appendTime appends a time of UTC to the microsecond, as RFC 3339 has it.
func appendTime(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, "2006-01-02T15:04:05.000000Z")
}
