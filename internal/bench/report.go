package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
)

// Report is what a comparison has found.
type Report struct {
	CPUs       int     `json:"cpus"`
	PostgreSQL string  `json:"postgresql"` // version
	Go         string  `json:"go"`         // version
	Seconds    float64 `json:"secondsPerRun"`
	Prefill    int64   `json:"prefill"`

	Cases  []Case   `json:"cases"`
	Counts []Counts `json:"counts"`
	Runs   []Run    `json:"runs"` // in the order in which they were made
}

// Case is a server with a number of connections. The figures are medians of its runs; ratios are made within each round of
// runs before the median is taken, so that what the machine does meanwhile hits both sides. What cannot be told is 0.
type Case struct {
	Connections int     `json:"connections"`
	Server      Kind    `json:"server"`
	PerSecond   float64 `json:"acknowledgedPerSecond"`
	Least       float64 `json:"leastPerSecond"`
	Most        float64 `json:"mostPerSecond"`
	OfDecode    float64 `json:"ofDecodeOnly"` // events/s as a multiple of the decode-only handler's
	OfNaive     float64 `json:"ofNaive"`
	OfAbove     float64 `json:"ofAbove"` // Filled of Service's, Rolling of Filled's; others have none

	P50Ms      float64 `json:"p50Ms"`
	P99Ms      float64 `json:"p99Ms"`
	P99OfNaive float64 `json:"p99OfNaive"`

	WALPerEvent    float64 `json:"walBytesPerEvent"`   // without images of whole pages, if PostgreSQL can tell
	ImagesPerEvent float64 `json:"imageBytesPerEvent"` // the images; -1 if PostgreSQL cannot tell
	CPUPerEvent    float64 `json:"cpuMicrosPerEvent"`  // of the server's process, in microseconds
	PeakMemory     int64   `json:"peakMemory"`         // bytes, the most of all runs so far
	Errors         int64   `json:"errors"`             // of all runs
}

// Counts says for a server with a database whether it has kept its word: what was acknowledged in warm-ups and runs, and
// what is found in the end.
type Counts struct {
	Server       Kind  `json:"server"`
	Acknowledged int64 `json:"acknowledged"`
	Failed       int64 `json:"failed"` // of which events may be found all the same
	Found        int64 `json:"found"`
}

func (c Comparison) report(ctx context.Context, server *server, contenders []*contender) (Report, error) {
	report := Report{CPUs: runtime.NumCPU(), Go: runtime.Version(), Seconds: c.Duration.Seconds(), Prefill: c.Prefill}
	if err := server.pool.QueryRow(ctx, "SHOW server_version").Scan(&report.PostgreSQL); err != nil {
		return report, err
	}
	for i, connections := range c.Connections {
		in := func(n *contender) []Run { return n.runs[i*c.Runs : (i+1)*c.Runs] }
		for place, n := range contenders {
			report.Cases = append(report.Cases, caseOf(in(n), in(contenders[0]), in(contenders[1])))
			k := &report.Cases[len(report.Cases)-1]
			k.Connections = connections
			if n.prefilled > 0 {
				k.OfAbove = ratio(in(n), in(contenders[place-1]), perSecond)
			}
		}
	}
	for round := range c.Runs * len(c.Connections) {
		for _, n := range contenders {
			report.Runs = append(report.Runs, n.runs[round])
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

func perSecond(r Run) float64 { return r.PerSecond }

func caseOf(runs, decode, naive []Run) Case {
	p99 := func(r Run) float64 { return r.Latency.P99 }
	k := Case{
		Server:     runs[0].Server,
		PerSecond:  median(runs, perSecond),
		Least:      perSecond(slices.MinFunc(runs, func(a, b Run) int { return int(a.PerSecond - b.PerSecond) })),
		Most:       perSecond(slices.MaxFunc(runs, func(a, b Run) int { return int(a.PerSecond - b.PerSecond) })),
		OfDecode:   ratio(runs, decode, perSecond),
		OfNaive:    ratio(runs, naive, perSecond),
		P50Ms:      median(runs, func(r Run) float64 { return r.Latency.P50 }),
		P99Ms:      median(runs, p99),
		P99OfNaive: ratio(runs, naive, p99),
		WALPerEvent: median(runs, func(r Run) float64 {
			return float64(r.WALBytes-max(0, r.WALPageImages)) / float64(max(1, r.Acknowledged))
		}),
		CPUPerEvent: median(runs, func(r Run) float64 { return r.CPUSeconds * 1e6 / float64(max(1, r.Acknowledged)) }),
		ImagesPerEvent: median(runs, func(r Run) float64 {
			if r.WALPageImages < 0 {
				return -1
			}
			return float64(r.WALPageImages) / float64(max(1, r.Acknowledged))
		}),
	}
	for _, r := range runs {
		k.PeakMemory = max(k.PeakMemory, r.PeakMemory)
		k.Errors += r.Failed()
	}
	return k
}

// ratio is the median of the ratios of runs to the ones beside which they were made.
func ratio(runs, beside []Run, of func(Run) float64) float64 {
	ratios := make([]float64, len(runs))
	for i := range runs {
		if of(beside[i]) > 0 {
			ratios[i] = of(runs[i]) / of(beside[i])
		}
	}
	return median(ratios, func(x float64) float64 { return x })
}

func median[T any](list []T, of func(T) float64) float64 {
	sorted := make([]float64, len(list))
	for i, x := range list {
		sorted[i] = of(x)
	}
	slices.Sort(sorted)
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}

// WriteReport writes a comparison for people.
func WriteReport(w io.Writer, r Report) error {
	fmt.Fprintf(w, "%d CPUs shared by load, service and PostgreSQL %s; %s; runs of %g s in turn, medians\n\n",
		r.CPUs, r.PostgreSQL, r.Go, r.Seconds)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "conns\tserver\tevents/s\tleast–most\tof decode\tof naive\tof above\tp50 ms\tp99 ms\tof naive\tWAL B/event\t+ images\tCPU µs/event\tpeak MiB\terrors\t")
	for _, k := range r.Cases {
		fmt.Fprintf(out, "%d\t%s\t%.0f\t%.0f–%.0f\t%s\t%s\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t%s\t%.0f\t%d\t\n",
			k.Connections, k.Server, k.PerSecond, k.Least, k.Most, known(k.OfDecode, 2), known(k.OfNaive, 2), known(k.OfAbove, 2),
			k.P50Ms, k.P99Ms, known(k.P99OfNaive, 2), known(k.WALPerEvent, 0), known(k.ImagesPerEvent, 0), known(k.CPUPerEvent, 1),
			float64(k.PeakMemory)/(1<<20), k.Errors)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, k := range r.Counts {
		verdict := "nothing is missing, nothing doubled"
		switch {
		case k.Found < k.Acknowledged:
			verdict = fmt.Sprintf("%d ARE MISSING", k.Acknowledged-k.Found)
		case k.Found > k.Acknowledged+k.Failed:
			verdict = fmt.Sprintf("%d ARE TOO MANY", k.Found-k.Acknowledged-k.Failed)
		}
		_, err := fmt.Fprintf(w, "\n%s: acknowledged %d, failed %d, found %d: %s", k.Server, k.Acknowledged, k.Failed, k.Found, verdict)
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// known writes a figure, or that there is none.
func known(x float64, digits int) string {
	if x <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, x)
}
