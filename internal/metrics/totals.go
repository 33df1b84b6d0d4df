package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// Refusal counts the callbacks that were refused for one reason.
type Refusal struct {
	Reason   string    `json:"reason"`
	Instance string    `json:"instance" doc:"The instance of the token, if it is limited to one, else empty"`
	Count    int64     `json:"count"`
	LastAt   time.Time `json:"lastAt"`
}

type refusalKey struct{ reason, instance string }

func (a Refusal) compare(b Refusal) int {
	return cmp.Or(strings.Compare(a.Reason, b.Reason), strings.Compare(a.Instance, b.Instance))
}

// totals are the counts that the status page shows.
type totals struct {
	received atomic.Int64
	mu       sync.Mutex
	refusals map[refusalKey]Refusal
}

// Refuse counts a refused callback. reason is one of a few words; instance is that of the sender's token, or "". Neither is
// text from the sender.
func (m *Metrics) Refuse(reason, instance string) {
	m.refused.WithLabelValues(reason, instance).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusals == nil {
		m.refusals = map[refusalKey]Refusal{}
	}
	key := refusalKey{reason, instance}
	m.refusals[key] = Refusal{reason, instance, m.refusals[key].Count + 1, presence.Now()}
}

// Refusals returns the reasons for which callbacks were refused, in alphabetical order.
func (m *Metrics) Refusals() []Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Refusal{}, slices.SortedFunc(maps.Values(m.refusals), Refusal.compare)...) // never null
}

// Received returns the number of received events.
func (m *Metrics) Received() int64 { return m.received.Load() }
