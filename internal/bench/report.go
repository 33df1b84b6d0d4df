package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
)

// Report is the result of a comparison.
type Report struct {
	CPUs       int     `json:"cpus"`
	PostgreSQL string  `json:"postgresql"` // version
	Go         string  `json:"go"`         // version
	Seconds    float64 `json:"secondsPerRun"`

	Cases  []Case   `json:"cases"`
	Counts []Counts `json:"counts"`
}

// Case is a server with a number of connections. The figures are medians of its runs. Ratios are computed within each round
// of runs before the median is taken, so that other load on the machine affects both sides. Unknown figures are 0.
type Case struct {
	Connections int     `json:"connections"`
	Server      Kind    `json:"server"`
	PerSecond   float64 `json:"acknowledgedPerSecond"`
	OfDecode    float64 `json:"ofDecodeOnly"` // events/s as a multiple of the decode-only handler's
	OfNaive     float64 `json:"ofNaive"`
	OfBase      float64 `json:"ofBase"` // events/s as a multiple of the base's; see Kind.base
	P99Ms       float64 `json:"p99Ms"`
	P99OfNaive  float64 `json:"p99OfNaive"`
	WALPerEvent float64 `json:"walBytesPerEvent"`
	PeakMemory  int64   `json:"peakMemory"` // bytes, maximum of all runs so far
}

// Counts compares the events acknowledged in warm-ups and runs with those found in the database at the end.
type Counts struct {
	Server       Kind  `json:"server"`
	Acknowledged int64 `json:"acknowledged"`
	Failed       int64 `json:"failed"` // their events may be found too
	Found        int64 `json:"found"`
}

func (c Comparison) report(ctx context.Context, server *server, contenders []*contender) (Report, error) {
	report := Report{CPUs: runtime.NumCPU(), Go: runtime.Version(), Seconds: c.Duration.Seconds()}
	if err := server.pool.QueryRow(ctx, "SHOW server_version").Scan(&report.PostgreSQL); err != nil {
		return report, err
	}
	perSecond := func(r serverRun) float64 { return r.PerSecond }
	p99 := func(r serverRun) float64 { return r.Latency.P99 }
	for i, connections := range c.Connections {
		in := func(n *contender) []serverRun { return n.runs[i*c.Runs : (i+1)*c.Runs] }
		decode, naive := in(contenders[0]), in(contenders[1])
		for _, n := range contenders {
			runs := in(n)
			k := Case{
				Connections: connections, Server: n.kind, PerSecond: median(runs, perSecond),
				OfDecode: ratio(runs, decode, perSecond), OfNaive: ratio(runs, naive, perSecond),
				P99Ms: median(runs, p99), P99OfNaive: ratio(runs, naive, p99),
				WALPerEvent: median(runs, func(r serverRun) float64 { return float64(r.walBytes) / float64(max(1, r.Acknowledged)) }),
			}
			for _, r := range runs {
				k.PeakMemory = max(k.PeakMemory, r.peakMemory)
			}
			if base := slices.IndexFunc(contenders, func(b *contender) bool { return b.kind == n.kind.base() }); base >= 0 {
				k.OfBase = ratio(runs, in(contenders[base]), perSecond)
			}
			report.Cases = append(report.Cases, k)
		}
	}
	for _, n := range contenders {
		if n.conn == "" {
			continue
		}
		found, err := n.stored(ctx)
		if err != nil {
			return report, err
		}
		report.Counts = append(report.Counts, Counts{n.kind, n.acknowledged, n.failed, found})
	}
	return report, nil
}

// ratio is the median of the ratios of runs of the same round.
func ratio(runs, beside []serverRun, of func(serverRun) float64) float64 {
	ratios := make([]float64, len(runs))
	for i := range runs {
		if of(beside[i]) > 0 {
			ratios[i] = of(runs[i]) / of(beside[i])
		}
	}
	return median(ratios, func(x float64) float64 { return x })
}

// WriteReport writes a comparison as a table, and the counts of acknowledged events.
func WriteReport(w io.Writer, r Report) {
	fmt.Fprintf(w, "%d CPUs shared by load, service and PostgreSQL %s; %s; runs of %g s in turn, medians\n\n",
		r.CPUs, r.PostgreSQL, r.Go, r.Seconds)
	table := [][]string{{
		"connections", "server", "events/s", "of decode-only", "of naive", "of base", "p99 ms", "p99 of naive", "WAL bytes/event", "peak MiB",
	}}
	for _, k := range r.Cases {
		table = append(table, []string{
			fmt.Sprint(k.Connections), string(k.Server), count(k.PerSecond), known(k.OfDecode, 2), known(k.OfNaive, 2), known(k.OfBase, 2),
			known(k.P99Ms, 2), known(k.P99OfNaive, 2), known(k.WALPerEvent, 0), known(float64(k.PeakMemory)/(1<<20), 0),
		})
	}
	writeTable(w, table)
	for _, k := range r.Counts {
		verdict := "nothing is missing, nothing duplicated"
		switch {
		case k.Found < k.Acknowledged:
			verdict = fmt.Sprintf("%d ARE MISSING", k.Acknowledged-k.Found)
		case k.Found > k.Acknowledged+k.Failed:
			verdict = fmt.Sprintf("%d ARE TOO MANY", k.Found-k.Acknowledged-k.Failed)
		}
		fmt.Fprintf(w, "\n%s: acknowledged %d, failed %d, found %d: %s\n", k.Server, k.Acknowledged, k.Failed, k.Found, verdict)
	}
}
