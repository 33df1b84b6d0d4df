// Package metrics counts what the service does, for Prometheus. Nothing in it names a contact.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/presencelog/presencelog/internal/presence"
)

// Results that an event can have.
const (
	Stored      = "stored"      // committed in PostgreSQL
	Spooled     = "spooled"     // flushed to the spool
	Unavailable = "unavailable" // neither: the sender was told to come again
)

// Metrics are the service's counters.
type Metrics struct {
	registry *prometheus.Registry

	Ignored       prometheus.Counter
	refused       *prometheus.CounterVec
	events        *prometheus.CounterVec
	drained       prometheus.Counter
	BatchEvents   prometheus.Histogram
	CommitSeconds prometheus.Histogram
}

// New returns counters at zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		Ignored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "presencelog_callbacks_ignored_total", Help: "Callbacks that are not presence events.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "presencelog_callbacks_refused_total", Help: "Callbacks that were refused, by reason.",
		}, []string{"reason"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "presencelog_events_total", Help: "Presence events received, by status and by what became of them.",
		}, []string{"status", "result"}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "presencelog_spool_drained_events_total", Help: "Events moved from the spool to PostgreSQL.",
		}),
		BatchEvents: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "presencelog_batch_events", Help: "Events written to PostgreSQL at once.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		CommitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "presencelog_commit_seconds", Help: "Time to write a batch to PostgreSQL, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	m.registry.MustRegister(m.Ignored, m.refused, m.events, m.drained, m.BatchEvents, m.CommitSeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Refuse counts a callback that was refused: reason is one of a few words.
func (m *Metrics) Refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

// Count counts events that had the same result.
func (m *Metrics) Count(events []presence.Event, result string) {
	var n [presence.Recording + 1]int
	for i := range events {
		n[events[i].Status]++
	}
	for _, status := range presence.Statuses() {
		if n[status] > 0 {
			m.events.WithLabelValues(status.String(), result).Add(float64(n[status]))
		}
	}
}

// Drained counts events that left the spool for the database.
func (m *Metrics) Drained(n int) { m.drained.Add(float64(n)) }

// Watch adds what is read when it is asked for.
func (m *Metrics) Watch(queue func() int, databaseUp func() bool, spoolBytes func() int64, spoolSince func() time.Time) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("presencelog_queue_events", "Events waiting to be written.", func() float64 { return float64(queue()) })
	gauge("presencelog_database_up", "1 while PostgreSQL takes events, 0 while they go to the spool or are refused.", func() float64 {
		if databaseUp() {
			return 1
		}
		return 0
	})
	gauge("presencelog_spool_bytes", "Bytes in the spool that PostgreSQL does not have yet.", func() float64 { return float64(spoolBytes()) })
	gauge("presencelog_spool_oldest_seconds", "Age of the oldest part of the spool, in seconds; 0 if it is empty.", func() float64 {
		since := spoolSince()
		if since.IsZero() {
			return 0
		}
		return time.Since(since).Seconds()
	})
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
