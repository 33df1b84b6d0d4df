package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/presence"
)

// Refused is what a known sender sent that could not be understood. It is kept to look at and to try again.
type Refused struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"at"`
	Gateway    string    `json:"gateway"`
	Reason     string    `json:"reason"`
	Body       []byte    `json:"body"`
}

// record is what stands in the spool: an event or something refused.
type record struct {
	Event   *spooledEvent `json:"event,omitempty"`
	Refused *Refused      `json:"refused,omitempty"`
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
		// Not a byte of the unknown fields may change: by them the database tells an event that it has from another one.
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

// decodeRecords is the way back. A record that is whole but makes no sense is an error of the program that wrote it.
func decodeRecords(records [][]byte) (events []presence.Event, refused []Refused, err error) {
	for _, b := range records {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, nil, fmt.Errorf("decoding a record of the spool: %w", err)
		}
		switch e := r.Event; {
		case e != nil:
			events = append(events, presence.Event{
				InstanceID: e.InstanceID, Phone: e.Phone, Status: presence.Status(e.Status),
				ReceivedAt: time.UnixMicro(e.ReceivedAt).UTC(), Seq: e.Seq, LastSeen: e.LastSeen, Extra: e.Extra,
			})
		case r.Refused != nil:
			refused = append(refused, *r.Refused)
		default:
			return nil, nil, errors.New("a record of the spool is of a kind that a newer version has made")
		}
	}
	return events, refused, nil
}
