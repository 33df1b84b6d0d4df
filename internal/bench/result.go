package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/terminal"
)

// Result is the result of a load.
type Result struct {
	Connections  int              `json:"connections"`
	Rate         float64          `json:"rate"` // target, requests per second; 0: as fast as possible
	Seconds      float64          `json:"seconds"`
	Requests     int64            `json:"requests"`     // sent
	Acknowledged int64            `json:"acknowledged"` // responses of 200 with an id
	PerSecond    float64          `json:"acknowledgedPerSecond"`
	Errors       map[string]int64 `json:"errors"`  // the others, by status or error
	Unsent       int64            `json:"unsent"`  // due but not sent by the end, because all connections were busy
	Latency      Latency          `json:"latency"` // of acknowledged requests; of unsent ones the time that they waited
}

// Latency is quantiles in milliseconds.
type Latency struct {
	P50 float64 `json:"p50Ms"`
	P99 float64 `json:"p99Ms"`
	Max float64 `json:"maxMs"`
}

func (r *run) result(workers []*worker, took time.Duration) Result {
	result := Result{
		Connections: r.Connections, Rate: r.Rate, Seconds: took.Seconds(), Errors: r.errors,
		Latency: Latency{P50: r.latency.quantile(0.5), P99: r.latency.quantile(0.99), Max: r.latency.quantile(1)},
	}
	for _, w := range workers {
		result.Requests += w.sent
		result.Acknowledged += w.acknowledged
		result.Unsent += w.unsent
	}
	result.PerSecond = float64(result.Acknowledged) / result.Seconds
	return result
}

// Failed is the number of requests that were not acknowledged.
func (r Result) Failed() int64 { return r.Requests - r.Acknowledged }

// WriteResults writes a table with a line for each load.
func WriteResults(w io.Writer, results []Result) {
	table := [][]string{{"connections", "requests", "acknowledged", "events/s", "p50 ms", "p99 ms", "max ms", "others"}}
	for _, r := range results {
		var others []string
		for _, why := range slices.Sorted(maps.Keys(r.Errors)) {
			others = append(others, fmt.Sprintf("%s: %d", why, r.Errors[why]))
		}
		if r.Unsent > 0 {
			others = append(others, fmt.Sprintf("no free connection: %d", r.Unsent))
		}
		table = append(table, []string{
			fmt.Sprint(r.Connections), terminal.Count(r.Requests), terminal.Count(r.Acknowledged), count(r.PerSecond),
			known(r.Latency.P50, 2), known(r.Latency.P99, 2), known(r.Latency.Max, 2), strings.Join(others, ", "),
		})
	}
	writeTable(w, table)
}
