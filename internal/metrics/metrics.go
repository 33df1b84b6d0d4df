// Package metrics counts what the service does: webhook and ingest count callbacks and events, app requests and background
// work. Prometheus scrapes the counts, and the status page shows some of them. No metric names a contact.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/presencelog/presencelog/internal/presence"
)

// Results of an event.
const (
	Stored      = "stored"      // committed in PostgreSQL
	Spooled     = "spooled"     // flushed to the spool
	Unavailable = "unavailable" // neither: the response was 503
)

// Metrics are the service's counters.
type Metrics struct {
	registry *prometheus.Registry

	Received        atomic.Int64 // events
	Ignored         atomic.Int64 // callbacks
	mu              sync.Mutex
	refusals        map[refusalKey]Refusal
	refused, events *prometheus.CounterVec
	Drained         prometheus.Counter     // events moved from the spool to the database
	OverLimit       *prometheus.CounterVec // events refused because too many instances or contacts were new, by limit
	RejectedDropped prometheus.Counter
	BatchEvents     prometheus.Histogram
	CommitSeconds   prometheus.Histogram

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec

	retentionRuns             *prometheus.CounterVec
	retentionEvents           prometheus.Counter
	retentionSucceeded        prometheus.Gauge
	intervalAge, lateContacts prometheus.Gauge
	refreshSeconds            prometheus.Histogram
	refreshFailed             prometheus.Counter
}

// New returns counters at zero.
func New() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return auto.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return auto.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		registry: registry, refusals: map[refusalKey]Refusal{},
		refused: counters("presencelog_callbacks_rejected_total", "Rejected callbacks, by reason.", "reason", "instance"),
		events:  counters("presencelog_events_total", "Received presence events, by status and result.", "status", "result"),
		Drained: counter("presencelog_spool_drained_events_total", "Events moved from the spool to PostgreSQL."),
		OverLimit: counters("presencelog_events_over_limit_total",
			"Presence events refused because too many instances or contacts were new, by the limit reached.", "limit"),
		RejectedDropped: counter("presencelog_rejected_payloads_dropped_total",
			"Rejected payloads deleted because they were too old or too many."),
		BatchEvents: histogram("presencelog_batch_events", "Events of a batch written to PostgreSQL.",
			prometheus.ExponentialBuckets(1, 4, 7)),
		CommitSeconds: histogram("presencelog_commit_duration_seconds", "Time to write a batch to PostgreSQL and commit it.",
			prometheus.ExponentialBuckets(0.0005, 2, 14)),
		requests: counters("presencelog_http_requests_total", "HTTP requests, by route, method and status.",
			"route", "method", "status"),
		requestSeconds: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "presencelog_http_request_duration_seconds", Help: "Time to respond to an HTTP request, by route and method.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		retentionRuns:   counters("presencelog_retention_runs_total", "Runs of the retention, by result.", "result"),
		retentionEvents: counter("presencelog_retention_deleted_events_total", "Events deleted by the retention."),
		retentionSucceeded: gauge("presencelog_retention_last_success_timestamp_seconds",
			"Time of the last run of the retention without an error, as Unix time; 0 before the first."),
		intervalAge: gauge("presencelog_intervals_unstored_age_seconds",
			"Age of the oldest event that stored intervals do not include; about 20 to 30 s while events arrive."),
		lateContacts: gauge("presencelog_intervals_late_contacts",
			"Contacts with late events that no refresh has read yet; until then, queries compute their intervals."),
		refreshSeconds: histogram("presencelog_intervals_refresh_duration_seconds", "Duration of refreshes of the stored intervals.",
			prometheus.ExponentialBuckets(0.001, 4, 9)),
		refreshFailed: counter("presencelog_intervals_refresh_failures_total", "Refreshes of the stored intervals that failed."),
	}
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "presencelog_callbacks_ignored_total", Help: "Ignored callbacks: those that are not presence events.",
	}, func() float64 { return float64(m.Ignored.Load()) })
	for _, result := range []string{"success", "error"} { // from the start
		m.retentionRuns.WithLabelValues(result)
	}
	return m
}

// gauge adds a gauge that is read when it is scraped.
func (m *Metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
}

// Count counts events that had the same result.
func (m *Metrics) Count(events []presence.Event, result string) {
	m.Received.Add(int64(len(events)))
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

// RetentionRun counts a run of the retention and the events that it deleted.
func (m *Metrics) RetentionRun(events int64, err error) {
	m.retentionEvents.Add(float64(events))
	if err != nil {
		m.retentionRuns.WithLabelValues("error").Inc()
		return
	}
	m.retentionRuns.WithLabelValues("success").Inc()
	m.retentionSucceeded.SetToCurrentTime()
}

// IntervalRefresh records a refresh.
func (m *Metrics) IntervalRefresh(took time.Duration, err error) {
	m.refreshSeconds.Observe(took.Seconds())
	if err != nil {
		m.refreshFailed.Inc()
	}
}

// IntervalStatus records how far the stored intervals are behind.
func (m *Metrics) IntervalStatus(ageSeconds float64, lateContacts int64) {
	m.intervalAge.Set(ageSeconds)
	m.lateContacts.Set(float64(lateContacts))
}

// Watch adds gauges of the writer and its spool.
func (m *Metrics) Watch(queue func() int, databaseUp func() bool, spoolBytes func() int64, spoolSince func() time.Time) {
	m.gauge("presencelog_queue_events", "Events waiting to be written.", nil, func() float64 { return float64(queue()) })
	m.gauge("presencelog_database_up", "1 while PostgreSQL accepts events, 0 while they go to the spool or get a 503.", nil, func() float64 {
		if databaseUp() {
			return 1
		}
		return 0
	})
	m.gauge("presencelog_spool_bytes", "Size of the spool.", nil, func() float64 { return float64(spoolBytes()) })
	m.gauge("presencelog_spool_oldest_age_seconds", "Age of the oldest segment of the spool; 0 if the spool is empty.", nil, func() float64 {
		since := spoolSince()
		if since.IsZero() {
			return 0
		}
		return time.Since(since).Seconds()
	})
}

// WatchLive adds the number of open live streams and waits.
func (m *Metrics) WatchLive(clients func() int) {
	m.gauge("presencelog_live_clients", "Open live streams and waits; a process that sends webhooks counts as one.", nil,
		func() float64 { return float64(clients()) })
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
