package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/presencelog/presencelog/internal/terminal"
)

// writeTable writes rows as Markdown; the first row has the names of the columns.
func writeTable(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "| ---%s |\n", strings.Repeat(" | ---:", len(row)-1))
		}
	}
}

func count(x float64) string { return terminal.Count(int64(x + 0.5)) }

// known formats a figure, or "-" if it is unknown.
func known(x float64, digits int) string {
	if x <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, x)
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
