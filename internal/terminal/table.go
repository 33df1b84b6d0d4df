package terminal

import (
	"strings"
	"unicode/utf8"
)

// align formats each row as a line, with columns as wide as their widest cell and two spaces apart. It aligns the columns in
// left to the left, others to the right.
func align(rows [][]string, left ...int) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	isLeft := make([]bool, len(widths))
	for _, i := range left {
		isLeft[i] = true
	}
	lines := make([]string, len(rows))
	for r, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if isLeft[i] {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
		}
		lines[r] = strings.TrimRight(line.String(), " ")
	}
	return lines
}
