package bench_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/bench"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// The bench itself fails if the results of the service and the window functions differ, so this tests both.
func TestScale(t *testing.T) {
	t.Parallel()
	c := bench.Scale{
		Database: pgtest.Empty(t), Dir: t.TempDir(), Events: []int64{10_000, 20_000}, Contacts: 2000, Days: 40,
		Progress: func(what string) { t.Log(what) },
	}
	figures, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if len(f.Values) != 2 || f.Values[0] <= 0 || f.Values[1] <= 0 {
			t.Errorf("%s: %v", f.Name, f.Values)
		}
	}
	var table bytes.Buffer
	bench.WriteScale(&table, c, figures)
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if len(lines) != len(figures)+2 || lines[0] != "|  | 10,000 events | 20,000 events | growth |" {
		t.Errorf("the table is\n%s", &table)
	}
}
