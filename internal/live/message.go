package live

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// State is what a contact does, and when that began.
type State struct {
	InstanceID  string          `json:"instanceId" doc:"The instance"`
	Phone       string          `json:"phone" doc:"The contact"`
	Status      presence.Status `json:"status" doc:"What the contact does now"`
	Since       time.Time       `json:"since" doc:"When the status began"`
	LastEventAt time.Time       `json:"lastEventAt" doc:"When the contact's last event was received"`
}

// Message is a change of a contact's status. All clients share it.
type Message struct {
	State
	Previous presence.Status // 0: the contact had no status before

	epoch  string
	n      uint64
	encode sync.Once
	sse    []byte
	ndjson []byte
}

// ID is the message's id, from which a client can resume.
func (m *Message) ID() string { return makeID(m.epoch, m.n) }

func makeID(epoch string, n uint64) string { return epoch + "-" + strconv.FormatUint(n, 10) }

// SSE returns the message as an event of the type state of a text/event-stream.
func (m *Message) SSE() []byte { m.encode.Do(m.marshal); return m.sse }

// NDJSON returns the message as a line with the members id, event and data.
func (m *Message) NDJSON() []byte { m.encode.Do(m.marshal); return m.ndjson }

func (m *Message) marshal() {
	data, err := json.Marshal(m.State)
	if err != nil {
		panic(err) // strings and times of four-digit years
	}
	m.sse = []byte("event: state\nid: " + m.ID() + "\ndata: " + string(data) + "\n\n")
	m.ndjson = []byte(`{"id":"` + m.ID() + `","event":"state","data":` + string(data) + "}\n")
}

// journal keeps the latest messages, so that clients can resume.
type journal struct {
	epoch    string
	n        uint64 // of the latest message
	messages []*Message
}

// journalSize is the number of messages that are kept, a power of two.
const journalSize = 1 << 16

func newJournal(now time.Time) journal {
	return journal{epoch: strconv.FormatInt(now.UnixMicro(), 36), messages: make([]*Message, journalSize)}
}

// add numbers a message and replaces the oldest one with it.
func (j *journal) add(m *Message) {
	j.n++
	m.epoch, m.n = j.epoch, j.n
	j.messages[j.n%journalSize] = m
}

// id returns the id of the latest message.
func (j *journal) id() string { return makeID(j.epoch, j.n) }

// since returns the messages after the one with the given id, oldest first; false if some are no longer kept, or the id is from
// another journal.
func (j *journal) since(id string) ([]*Message, bool) {
	number, ours := strings.CutPrefix(id, j.epoch+"-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ours || err != nil || n > j.n || j.n-n >= journalSize {
		return nil, false
	}
	messages := make([]*Message, 0, j.n-n)
	for n++; n <= j.n; n++ {
		messages = append(messages, j.messages[n%journalSize])
	}
	return messages, true
}
