package api

import (
	"bufio"
	"strings"
)

// escapeFormula puts an apostrophe before text that a spreadsheet would run as a formula: senders choose the text.
func escapeFormula(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// writeCSV writes a line by RFC 4180. Unlike encoding/csv, it does not change line breaks in a cell.
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
