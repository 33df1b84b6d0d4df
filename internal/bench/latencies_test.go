package bench

import (
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var l latencies
	if got := l.quantile(0.99); got != 0 {
		t.Errorf("p99 of nothing is %g", got)
	}
	for us := 1000; us > 0; us-- {
		l.record(time.Duration(us) * time.Microsecond)
	}
	for share, want := range map[float64]float64{0: 0.001, 0.0005: 0.001, 0.5: 0.5, 0.99: 0.99, 0.999: 0.999, 1: 1} {
		if got := l.quantile(share); got != want {
			t.Errorf("quantile %g is %g ms, want %g", share, got, want)
		}
	}
}
