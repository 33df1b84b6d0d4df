package bench

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// subBits is the precision of a histogram: 128 buckets between a power of two and the next keep a quantile within 0.8 %.
const subBits = 7

// histogram counts latencies in microseconds, from any number of goroutines. Its size does not grow with the run.
type histogram struct {
	counts [(64 - subBits) << subBits]atomic.Int64
	max    atomic.Int64 // microseconds
}

func (h *histogram) record(d time.Duration) {
	us := max(0, d.Microseconds())
	h.counts[bucketOf(us)].Add(1)
	for {
		old := h.max.Load()
		if us <= old || h.max.CompareAndSwap(old, us) {
			return
		}
	}
}

// quantile returns the least latency that a share of all does not exceed; 0 if there are none.
func (h *histogram) quantile(share float64) time.Duration {
	var all int64
	for i := range h.counts {
		all += h.counts[i].Load()
	}
	left := int64(math.Ceil(share * float64(all)))
	for i := range h.counts {
		if left -= h.counts[i].Load(); left <= 0 && all > 0 {
			return time.Duration(min(largestIn(i), h.max.Load())) * time.Microsecond
		}
	}
	return 0
}

// bucketOf numbers the buckets: one for each microsecond up to 256, then 128 for each doubling.
func bucketOf(us int64) int {
	e := max(0, bits.Len64(uint64(us))-subBits-1)
	return e<<subBits + int(us>>e)
}

func largestIn(bucket int) int64 {
	e := max(0, bucket>>subBits-1)
	return int64(bucket-e<<subBits+1)<<e - 1
}
