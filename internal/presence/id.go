package presence

import (
	"encoding/base32"
	"encoding/binary"
	"time"
)

// EventID returns the id of an event, unique within its contact: 16 letters and digits that encode ReceivedAt and Seq, and sort
// like them.
func EventID(receivedAt time.Time, seq int16) string {
	var key [10]byte
	binary.BigEndian.PutUint64(key[:], uint64(receivedAt.UnixMicro()))
	binary.BigEndian.PutUint16(key[8:], uint16(seq))
	return base32.HexEncoding.EncodeToString(key[:])
}
