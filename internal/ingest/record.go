package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/presencelog/presencelog/internal/presence"
)

// record is a record of the spool: an event or a rejected payload.
type record struct {
	Event    *spooledEvent `json:"event,omitempty"`
	Rejected *Rejected     `json:"rejected,omitempty"`
}

type spooledEvent struct {
	InstanceID string         `json:"instance"`
	Phone      string         `json:"phone"`
	Status     int16          `json:"status"`
	ReceivedAt int64          `json:"at"` // µs since 1970
	Seq        int16          `json:"seq"`
	LastSeen   *int64         `json:"lastSeen,omitempty"`
	Extra      jsontext.Value `json:"extra,omitzero"`
}

func encodeEvents(events []presence.Event) ([][]byte, error) {
	records := make([][]byte, len(events))
	for i, e := range events {
		// The unknown fields must stay the same byte for byte: the database compares them to detect duplicates.
		b, err := json.Marshal(record{Event: &spooledEvent{
			InstanceID: e.InstanceID, Phone: e.Phone, Status: int16(e.Status), ReceivedAt: e.ReceivedAt.UnixMicro(),
			Seq: e.Seq, LastSeen: e.LastSeen, Extra: e.Extra,
		}}, jsontext.PreserveRawStrings(true))
		if err != nil {
			return nil, fmt.Errorf("encoding an event for the spool: %w", err)
		}
		records[i] = b
	}
	return records, nil
}

func (e *spooledEvent) event() presence.Event {
	return presence.Event{
		InstanceID: e.InstanceID, Phone: e.Phone, Status: presence.Status(e.Status),
		ReceivedAt: time.UnixMicro(e.ReceivedAt).UTC(), Seq: e.Seq, LastSeen: e.LastSeen, Extra: e.Extra,
	}
}

// decodeRecord decodes a record. It fails for records of other versions.
func decodeRecord(b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("decoding a record of the spool: %w", err)
	}
	if r.Event == nil && r.Rejected == nil {
		return r, errors.New("neither an event nor a rejected payload")
	}
	if e := r.Event; e != nil && (presence.Status(e.Status) < presence.Available || presence.Status(e.Status) > presence.Recording) {
		return r, fmt.Errorf("an event with the status %d", e.Status)
	}
	return r, nil
}
