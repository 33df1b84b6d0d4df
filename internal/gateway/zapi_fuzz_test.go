package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
)

// bodies are what fuzzing starts from: what gateways send, and what nobody should.
var bodies = []string{
	`{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","lastSeen":null,"instanceId":"instance.id"}`,
	`{"type":"PresenceChatCallback","phone":"5544999999999","status":"UNAVAILABLE","lastSeen":1763800000,"instanceId":"instance.id"}`,
	`{"type":"PresenceChatCallback","phone":"123@lid","status":"RECORDING","instanceId":"i","isGroup":false,"x":{"y":[1.50e+3,"\u0000"]}}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"PAUSED","lastSeen":-9223372036854775807,"instanceId":"i","receivedAt":"2026-10-01T00:00:00Z"}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"AVAILABLE","instanceId":"i","received\u0041t":1,"\u0070hone ":2}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"AVAILABLE","instanceId":"i","$extra":{"a":1,"receivedAt":2,"type":3,"$extra":[]}}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"AVAILABLE","instanceId":"i","$extra":null}`,
	`{"receivedAt":1,"type":"PresenceChatCallback","phone":"1","status":"AVAILABLE","instanceId":"i"}`,
	`{"a":{"receivedAt":1},"received\u0041t":[{}],"type":"PresenceChatCallback","phone":"1","status":"AVAILABLE","instanceId":"i","0":1}`,
	` { "type" : "PresenceChatCallback" , "phone" : "\ud83d\ude00\u00e9\/" , "status" : "PAUSED" , "instanceId" : "\u2028" , "a" : { } } `,
	`{"type":"PresenceChatCallback","phone":"55\u000044","status":"COMPOSING","instanceId":"i"}`,
	`{"type":"PresenceChatCallback","phone":"` + "\xff" + `","status":"COMPOSING","instanceId":"i"}`,
	`{"type":"PresenceChatCallback","phone":"1","phone":"2","status":"COMPOSING","instanceId":"i"}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"LISTENING","lastSeen":1e3,"instanceId":1}`,
	`{"type":"PresenceChatCallback","phone":"1","status":"PAUSED","lastSeen":-9223372036854775808,"instanceId":"i"}`,
	`{"type":"ReceivedCallback","phone":"1"}`, `{}`, `null`, `[]`, `""`, `1`, ``, `{`, `{"type":`, "\x00", "\ufeff{}",
	`{"type":"PresenceChatCallback","phone":"1","status":"PAUSED","instanceId":"i","x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`,
}

func FuzzDecodeZAPI(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		e, err := DecodeZAPI(body)
		if !bytes.Equal(body, sent) {
			t.Fatalf("%q was changed into %q", sent, body)
		}
		if err != nil {
			readable(t, err)
			return
		}
		storable(t, e)
		again, err := DecodeZAPI(AppendZAPI(nil, e))
		if err != nil {
			t.Fatalf("%q is written as %q, which is not read: %v", body, AppendZAPI(nil, e), err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q is read as %+v, written and read as %+v", body, e, again)
		}

		// An export can be read too, also if the gateway sent a receivedAt of its own.
		e.ReceivedAt = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
		again, err = DecodeRecord(AppendRecord(nil, e))
		if err != nil {
			t.Fatalf("%q is exported as %q, which is not read: %v", body, AppendRecord(nil, e), err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q is read as %+v, exported and read as %+v", body, e, again)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for _, b := range bodies {
		for _, at := range []string{"2026-11-22T10:00:00.123456Z", "2026-11-22T07:00:00.1234567-03:00", "1999-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "now"} {
			f.Add([]byte(strings.TrimSuffix(b, "}") + `,"receivedAt":"` + at + `"}`))
		}
	}
	f.Add([]byte(`{"receivedAt":"2100-12-31T23:59:59,5-00:01"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := DecodeRecord(line)
		if err != nil {
			readable(t, err)
			return
		}
		storable(t, e)
		if e.ReceivedAt.Location() != time.UTC || !e.ReceivedAt.Equal(e.ReceivedAt.Truncate(time.Microsecond)) ||
			e.ReceivedAt.Year() < 2000 || e.ReceivedAt.Year() > 2100 {
			t.Fatalf("%q was received at %s", line, e.ReceivedAt)
		}
		written := AppendRecord(nil, e)
		if bytes.IndexByte(written, '\n') != len(written)-1 {
			t.Fatalf("%q is written as more than a line: %q", line, written)
		}
		again, err := DecodeRecord(written)
		if err != nil {
			t.Fatalf("%q is written as %q, which is not read: %v", line, written, err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q is read as %+v, written and read as %+v", line, e, again)
		}
	})
}

// storable checks that the database takes an event.
func storable(t *testing.T, e presence.Event) {
	t.Helper()
	for _, name := range []string{e.InstanceID, e.Phone} {
		if len(name) < 1 || len(name) > 128 || !utf8.ValidString(name) || strings.Contains(name, "\x00") {
			t.Fatalf("%q is a name", name)
		}
	}
	if e.Status < presence.Available || e.Status > presence.Recording {
		t.Fatalf("the status is %d", e.Status)
	}
	if e.Extra == nil {
		return
	}
	var extra map[string]json.RawMessage
	if err := json.Unmarshal(e.Extra, &extra); err != nil || len(extra) == 0 || !utf8.Valid(e.Extra) || bytes.IndexByte(e.Extra, 0) >= 0 {
		t.Fatalf("the unknown fields are %q (%v)", e.Extra, err)
	}
	for _, known := range []string{"type", "phone", "status", "lastSeen", "instanceId"} {
		if _, ok := extra[known]; ok {
			t.Fatalf("%s is among the unknown fields %q", known, e.Extra)
		}
	}
}

// readable checks that an error can be shown to the sender of the body.
func readable(t *testing.T, err error) {
	t.Helper()
	var ignored *IgnoredError
	if errors.As(err, &ignored) {
		return
	}
	if s := err.Error(); s == "" || len(s) > 300 || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n") {
		t.Fatalf("the reason is %q", s)
	}
}
