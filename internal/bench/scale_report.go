package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteScale writes the table for people, or if asked for as Markdown.
func WriteScale(w io.Writer, c Scale, figures []Figure, markdown bool) error {
	head := []string{""}
	for _, n := range c.Events {
		head = append(head, thousands(n)+" events")
	}
	lines := [][]string{append(head, "growth")}
	for _, f := range figures {
		line := []string{strings.TrimSuffix(f.Name+", "+f.Unit, ", ")}
		for _, v := range f.Values {
			line = append(line, short(v))
		}
		lines = append(lines, append(line, fmt.Sprintf("%.2f", f.Growth())))
	}
	if markdown {
		for i, line := range lines {
			fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
			if i == 0 {
				fmt.Fprintf(w, "| ---%s |\n", strings.Repeat(" | ---:", len(line)-1))
			}
		}
		return nil
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range lines {
		fmt.Fprintln(out, strings.Join(line, "\t")+"\t")
	}
	return out.Flush()
}

func short(v float64) string {
	switch {
	case v >= 100:
		return thousands(int64(v + 0.5))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
