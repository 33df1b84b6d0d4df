package api

import (
	"bufio"
	"strings"
)

// unformulated puts an apostrophe before what a spreadsheet would take for a formula: a sender could have it run there.
func unformulated(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// writeCSV writes a line as RFC 4180 has it. Unlike encoding/csv it leaves line breaks in a cell as they are.
func writeCSV(out *bufio.Writer, cells []string) error {
	for i, c := range cells {
		if i > 0 {
			out.WriteByte(',')
		}
		if strings.ContainsAny(c, "\",\r\n") {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		out.WriteString(c)
	}
	_, err := out.WriteString("\r\n")
	return err
}
