package bench

import (
	"math"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("p99 of nothing is %s", got)
	}
	for us := 1; us <= 1_000_000; us++ {
		h.record(time.Duration(us) * time.Microsecond)
	}
	for _, share := range []float64{0.0001, 0.5, 0.9, 0.99, 0.999, 1} {
		got := float64(h.quantile(share).Microseconds())
		if want := share * 1e6; got < want || got > want*1.008 {
			t.Errorf("quantile %g is %g µs, want %g or up to 0.8 %% more", share, got, want)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	var h histogram
	for _, us := range []int64{0, 1, 255, 256, 257, 511, 512, 1 << 30, 1<<30 - 1, math.MaxInt64} {
		b := bucketOf(us)
		if b >= len(h.counts) || largestIn(b) < us || b > 0 && largestIn(b-1) >= us {
			t.Errorf("%d µs is in bucket %d, up to %d", us, b, largestIn(b))
		}
	}
}
