package ingest_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/metrics"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// BenchmarkStoreWrite writes batches as large as 64 connections make them, of contacts whose ids are cached. Late ones are
// what all batches are after a clock was set back.
func BenchmarkStoreWrite(b *testing.B) {
	seen := int64(1_763_800_000)
	for name, lastSeen := range map[string]*int64{"without lastSeen": nil, "with lastSeen": &seen, "late": nil, "new contacts": nil} {
		b.Run(name, func(b *testing.B) {
			pool := pgtest.New(b)
			s := ingest.NewStore(pool)
			if name == "late" {
				ingest.SetCutoff(b, pool, time.Now().Add(time.Hour))
			}
			batch := make([]presence.Event, 30)
			for i := range batch {
				batch[i] = presence.Event{InstanceID: "i", Phone: fmt.Sprint(i), Status: presence.Available, LastSeen: lastSeen}
			}
			start := time.Now().UTC().Truncate(time.Microsecond)
			for n := range b.N + 1 {
				if n == 1 {
					b.ResetTimer()
				}
				for i := range batch {
					if name == "new contacts" {
						batch[i].Phone = fmt.Sprint(n*len(batch) + i)
					}
					batch[i].ReceivedAt = start.Add(time.Duration(n) * time.Microsecond)
				}
				if err := s.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(batch)*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkWriter writes the events of 64 concurrent requests.
func BenchmarkWriter(b *testing.B) {
	for _, kind := range []string{"cached", "new"} {
		b.Run(kind, func(b *testing.B) {
			pool := pgtest.New(b)
			w := ingest.NewWriter(ingest.Config{
				Pool: pool, Timeout: time.Minute, Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler),
			})
			b.Cleanup(w.Close)
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					i := n.Add(1)
					if kind == "cached" {
						i %= 100
					}
					e := presence.Event{InstanceID: "i", Phone: strconv.FormatInt(i, 10), Status: presence.Available, ReceivedAt: presence.Now()}
					if err := w.Write(b.Context(), &e); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
