package bench

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestLiveTimesChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	result, err := Live{
		// For so long that all changes are timed, also where the machine stands still for a while.
		Processes: 2, Readers: 20, Waits: 3, Connections: 4, Duration: 3 * time.Second, Runs: 1, Bodies: bodies(t, 100),
		Database: pgtest.Empty(t), Progress: func(what string) { t.Log(what) },
		Command: func(n int, listen, database, token string) *exec.Cmd {
			return command(Service, listen, database, token, filepath.Join(dir, strconv.Itoa(n)))
		},
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.PerSecond <= 0 || result.Alone <= 0 || result.Ratio <= 0 || result.Messages <= 0 || result.P50Ms <= 0 || result.P99Ms < result.P50Ms ||
		result.OtherP99Ms <= 0 || result.Dropped > 0 {
		t.Errorf("implausible: %+v", result)
	}
	var text strings.Builder
	WriteLive(&text, []LiveResult{result})
	if lines := strings.Split(text.String(), "\n"); len(lines) != 4 || strings.Count(lines[0], "|") != strings.Count(lines[2], "|") {
		t.Errorf("the table is\n%s", &text)
	}
}
