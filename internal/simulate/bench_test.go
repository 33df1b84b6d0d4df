package simulate

import (
	"fmt"
	"testing"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
)

func BenchmarkHistory(b *testing.B) {
	for _, contacts := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("%d_contacts", contacts), func(b *testing.B) {
			n := max(b.N, 1)
			days := max(1, n/(contacts*100)) // so that it is never denser than a hundred events per contact and day
			events, err := config(contacts).History(monday, monday.AddDate(0, 0, days), n)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range events {
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	e := presence.Event{InstanceID: InstanceIDs(1, 1)[0], Phone: "5523987654321", Status: presence.Composing, ReceivedAt: monday.UTC()}
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = gateway.AppendRecord(line[:0], e)
	}
	b.SetBytes(int64(len(line)))
}
