package metrics

import (
	"cmp"
	"maps"
	"slices"
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

// Refuse counts a refused callback. reason is one of a few words; instance is that of the sender's token, or "". Neither is
// text from the sender.
func (m *Metrics) Refuse(reason, instance string) {
	m.refused.WithLabelValues(reason, instance).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	key := refusalKey{reason, instance}
	m.refusals[key] = Refusal{reason, instance, m.refusals[key].Count + 1, presence.Now()}
}

// Refusals returns the reasons for which callbacks were refused, in alphabetical order.
func (m *Metrics) Refusals() []Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.SortedFunc(maps.Values(m.refusals), func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Instance, b.Instance))
	})
	return append([]Refusal{}, list...) // never null
}
