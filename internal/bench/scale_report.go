package bench

import (
	"fmt"
	"io"
	"strings"

	"github.com/presencelog/presencelog/internal/terminal"
)

// WriteScale writes the table. The last column is the ratio of the last value to the first.
func WriteScale(w io.Writer, c Scale, figures []Figure) {
	head := []string{""}
	for _, n := range c.Events {
		head = append(head, terminal.Count(n)+" events")
	}
	table := [][]string{append(head, "growth")}
	for _, f := range figures {
		line := []string{strings.TrimSuffix(f.Name+", "+f.Unit, ", ")}
		for _, v := range f.Values {
			line = append(line, short(v))
		}
		table = append(table, append(line, fmt.Sprintf("%.2f", f.Values[len(f.Values)-1]/f.Values[0])))
	}
	writeTable(w, table)
}

func short(v float64) string {
	switch {
	case v >= 100:
		return count(v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
