package ingest

import (
	"reflect"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// FuzzRecord checks that an event of any record that is accepted from the spool would be spooled as the same event.
func FuzzRecord(f *testing.F) {
	lastSeen := int64(-5)
	records, err := encodeEvents([]presence.Event{
		{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: time.Date(2026, 10, 1, 12, 0, 0, 1000, time.UTC)},
		{InstanceID: "é\"", Phone: "1@lid", Status: presence.Paused, Seq: 3, LastSeen: &lastSeen, Extra: []byte(`{"a":[1.50,"\/"]}`)},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range records {
		f.Add(r)
	}
	f.Add([]byte(`{"rejected":{"Reason":"x","Body":"eHg="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil || r.Event == nil {
			return
		}
		event := r.Event.event()
		again, err := encodeEvents([]presence.Event{event})
		if err != nil {
			t.Fatal(err)
		}
		if r, err = decodeRecord(again[0]); err != nil || !reflect.DeepEqual(r.Event.event(), event) {
			t.Errorf("%s became %s: %v", b, again[0], err)
		}
	})
}
