package terminal

import (
	"bytes"
	"io"
	"strings"
)

// List writes rows, in columns on a terminal, otherwise tab-separated. The first row has the names. All errors are w's.
func List(w io.Writer, rows [][]string) error {
	clean := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			clean[i] = append(clean[i], Text(cell))
		}
	}
	var b bytes.Buffer
	if IsTerminal(w) {
		left := make([]int, len(rows[0]))
		for i := range left {
			left[i] = i
		}
		for _, line := range align(clean, left...) {
			b.WriteString(line + "\n")
		}
	} else {
		for _, row := range clean {
			b.WriteString(strings.Join(row, "\t") + "\n")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
