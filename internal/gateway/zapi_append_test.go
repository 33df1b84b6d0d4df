package gateway

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

func example() presence.Event {
	return presence.Event{
		InstanceID: "instance.id", Phone: "5544999999999", Status: presence.Composing,
		ReceivedAt: time.Date(2026, 11, 22, 7, 0, 0, 123456000, time.FixedZone("", -3*3600)),
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	seen := int64(1763800000)
	quoted := example()
	quoted.Phone, quoted.InstanceID = "a\"\\\n\u2028é", "bad\xffbyte"
	known := example()
	known.Status, known.LastSeen = presence.Unavailable, &seen
	extra := example()
	extra.Extra = []byte(` { "isGroup":false,"photo":null } `)
	empty := example()
	empty.Extra = []byte(`{ }`)
	const plain = `{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","lastSeen":null,"instanceId":"instance.id"}`
	for _, test := range []struct {
		name string
		e    presence.Event
		want string
	}{
		{"as documented", example(), plain},
		{"lastSeen", known, `{"type":"PresenceChatCallback","phone":"5544999999999","status":"UNAVAILABLE","lastSeen":1763800000,"instanceId":"instance.id"}`},
		{"escapes", quoted, `{"type":"PresenceChatCallback","phone":"a\"\\\n` + "\u2028" + `é","status":"COMPOSING","lastSeen":null,"instanceId":"bad` + "\ufffd" + `byte"}`},
		{"extra", extra, `{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","lastSeen":null,"instanceId":"instance.id","isGroup":false,"photo":null}`},
		{"empty extra", empty, plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := string(AppendZAPI([]byte("x"), test.e))
			if got != "x"+test.want {
				t.Errorf("body\n%s, want\n%s", got, "x"+test.want)
			}
			if !json.Valid([]byte(got[1:])) {
				t.Error("not JSON")
			}
			line := string(AppendRecord(nil, test.e))
			if want := test.want[:len(test.want)-1] + `,"receivedAt":"2026-11-22T10:00:00.123456Z"}` + "\n"; line != want {
				t.Errorf("line\n%s, want\n%s", line, want)
			}
		})
	}
}
