package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns what came from outside as it may be written to a terminal or into a line of fields: characters that do not
// print, such as escape sequences, tabs, line breaks and changes of the writing direction, are escaped as in Go. Bytes that are
// not UTF-8 become U+FFFD.
func Text(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) { // a byte by itself may be a control character to a terminal
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }
