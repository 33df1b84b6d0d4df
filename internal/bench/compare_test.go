package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestCompareFindsAcknowledgedEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	comparison := Comparison{
		Connections: []int{3, 9}, Duration: 150 * time.Millisecond, Runs: 1, Prefill: 1500,
		Bodies: bodies(t, 100), Database: pgtest.Empty(t), Progress: func(what string) { t.Log(what) },
		Command: func(kind Kind, listen, database, token string) *exec.Cmd {
			return command(kind, listen, database, token, filepath.Join(dir, string(kind)))
		},
	}
	report, err := comparison.Compare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := 7 * 2; len(report.Cases) != want {
		t.Errorf("%d cases, want %d", len(report.Cases), want)
	}
	of := map[Kind]Counts{}
	for _, k := range report.Counts {
		of[k.Server] = k
	}
	for _, kind := range []Kind{Naive, Service, Cold, New, Filled, Refreshing} {
		if k := of[kind]; k.Acknowledged == 0 || k.Failed > 0 || k.Found != k.Acknowledged {
			t.Errorf("%s: acknowledged %d, failed %d, found %d", kind, k.Acknowledged, k.Failed, k.Found)
		}
	}
	onLinux := 0.0
	if _, err := os.Stat("/proc/self/status"); err == nil {
		onLinux = 1
	}
	for _, k := range report.Cases {
		stores := k.Server != DecodeOnly
		if k.PerSecond <= 0 || k.OfDecode <= 0 || k.OfNaive <= 0 || k.P99Ms <= 0 || (k.OfBase > 0) != (k.Server.base() != "") ||
			stores && k.WALPerEvent < 50 ||
			float64(k.PeakMemory) < onLinux*1e6 {
			t.Errorf("implausible: %+v", k)
		}
	}

	var text bytes.Buffer
	WriteReport(&text, report)
	t.Logf("\n%s", &text)
	if n := strings.Count(text.String(), "nothing is missing, nothing duplicated"); n != 6 {
		t.Errorf("the text confirms %d servers, want 6", n)
	}
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
}

// TestWriteReportShowsMissingEvents is there because the case does not come up by itself.
func TestWriteReportShowsMissingEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		counts Counts
		want   string
	}{
		{Counts{Service, 10, 2, 10}, "nothing is missing"},
		{Counts{Service, 10, 2, 12}, "nothing is missing"}, // a failed one may have been stored
		{Counts{Service, 10, 2, 9}, "1 ARE MISSING"},
		{Counts{Service, 10, 2, 13}, "1 ARE TOO MANY"},
	} {
		var text strings.Builder
		WriteReport(&text, Report{Counts: []Counts{test.counts}})
		if !strings.Contains(text.String(), test.want) {
			t.Errorf("%+v: %s, want %q", test.counts, text.String(), test.want)
		}
	}
}

func TestMedianAndRatio(t *testing.T) {
	t.Parallel()
	runs := func(rates ...float64) (list []serverRun) {
		for _, r := range rates {
			list = append(list, serverRun{Result: Result{PerSecond: r}})
		}
		return list
	}
	rate := func(r serverRun) float64 { return r.PerSecond }
	if m := median(runs(9, 1, 5), rate); m != 5 {
		t.Errorf("median %g, want 5", m)
	}
	if m := median(runs(9, 1, 5, 7), rate); m != 6 {
		t.Errorf("median %g, want 6", m)
	}
	// The second round was made while the machine was slow: the ratio does not show it.
	if m := ratio(runs(10, 2, 12), runs(20, 4, 20), rate); m != 0.5 {
		t.Errorf("ratio %g, want 0.5", m)
	}
}
