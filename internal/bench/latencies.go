package bench

import (
	"math"
	"slices"
	"sync"
	"time"
)

// latencies are durations that goroutines record.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) record(d time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, d)
	l.mu.Unlock()
}

// quantile returns a quantile in milliseconds; 0 if there are no latencies.
func (l *latencies) quantile(share float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	rank := int(math.Ceil(share * float64(len(l.all))))
	return float64(l.all[max(0, rank-1)].Microseconds()) / 1000
}
