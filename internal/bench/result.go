package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what became of a load.
type Result struct {
	Connections  int              `json:"connections"`
	Rate         float64          `json:"rate"` // offered, requests per second; 0 if every connection went as fast as it could
	Seconds      float64          `json:"seconds"`
	Requests     int64            `json:"requests"`     // sent
	Acknowledged int64            `json:"acknowledged"` // answered 200 with an id
	PerSecond    float64          `json:"acknowledgedPerSecond"`
	Errors       map[string]int64 `json:"errors"`  // the others, by status or by what else went wrong
	Unsent       int64            `json:"unsent"`  // due at the rate but not sent by the end: all connections were busy
	Latency      Latency          `json:"latency"` // of the acknowledged, and of the unsent the time they had waited
}

// Latency is quantiles in milliseconds.
type Latency struct {
	P50  float64 `json:"p50Ms"`
	P90  float64 `json:"p90Ms"`
	P99  float64 `json:"p99Ms"`
	P999 float64 `json:"p999Ms"`
	Max  float64 `json:"maxMs"`
}

func (r *run) result(workers []*worker, took time.Duration) Result {
	ms := func(share float64) float64 { return float64(r.latency.quantile(share).Microseconds()) / 1000 }
	result := Result{
		Connections: r.Connections, Rate: r.Rate, Seconds: took.Seconds(), Errors: r.errors,
		Latency: Latency{P50: ms(0.5), P90: ms(0.9), P99: ms(0.99), P999: ms(0.999), Max: ms(1)},
	}
	for _, w := range workers {
		result.Requests += w.sent
		result.Acknowledged += w.acknowledged
		result.Unsent += w.unsent
	}
	result.PerSecond = float64(result.Acknowledged) / result.Seconds
	return result
}

// Failed is how many requests were sent and not acknowledged.
func (r Result) Failed() int64 { return r.Requests - r.Acknowledged }

// WriteResults writes a table for people, a line for each load.
func WriteResults(w io.Writer, results []Result) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "connections\trate/s\trequests\tacknowledged\tevents/s\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t")
	for _, r := range results {
		rate := "-"
		if r.Rate > 0 {
			rate = fmt.Sprintf("%g", r.Rate)
		}
		fmt.Fprintf(out, "%d\t%s\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.Connections, rate, r.Requests,
			r.Acknowledged, r.PerSecond, r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		var notes []string
		for _, why := range slices.Sorted(maps.Keys(r.Errors)) {
			notes = append(notes, fmt.Sprintf("%s: %d", why, r.Errors[why]))
		}
		if r.Unsent > 0 {
			notes = append(notes, fmt.Sprintf("due but never sent, since all connections were busy: %d", r.Unsent))
		}
		if len(notes) > 0 {
			if _, err := fmt.Fprintf(w, "%d connections: %s\n", r.Connections, strings.Join(notes, ", ")); err != nil {
				return err
			}
		}
	}
	return nil
}
