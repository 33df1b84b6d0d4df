package metrics

import (
	"runtime"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// WatchPool adds the state of a pool of database connections, read when it is scraped.
func (m *Metrics) WatchPool(name string, pool *pgxpool.Pool) {
	for state, connections := range map[string]func(*pgxpool.Stat) int32{
		"acquired": (*pgxpool.Stat).AcquiredConns, "idle": (*pgxpool.Stat).IdleConns, "constructing": (*pgxpool.Stat).ConstructingConns,
	} {
		m.gauge("presencelog_db_pool_connections", "Connections of a pool, by their state.",
			prometheus.Labels{"pool": name, "state": state}, func() float64 { return float64(connections(pool.Stat())) })
	}
	labels := prometheus.Labels{"pool": name}
	m.gauge("presencelog_db_pool_max_connections", "Connections that a pool may have.", labels,
		func() float64 { return float64(pool.Stat().MaxConns()) })
	auto := promauto.With(m.registry)
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "presencelog_db_pool_waits_total", Help: "Acquires that had to wait for a connection.", ConstLabels: labels,
	}, func() float64 { return float64(pool.Stat().EmptyAcquireCount()) })
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "presencelog_db_pool_wait_seconds_total", Help: "Time that acquires waited for a connection.", ConstLabels: labels,
	}, func() float64 { return pool.Stat().EmptyAcquireWaitTime().Seconds() })
}

// BuildInfo adds the version of the program.
func (m *Metrics) BuildInfo(version string) {
	m.gauge("presencelog_build_info", "Always 1; the labels have the versions of presencelog and Go.",
		prometheus.Labels{"version": version, "goversion": runtime.Version()}, func() float64 { return 1 })
}
