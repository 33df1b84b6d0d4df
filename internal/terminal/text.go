package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes untrusted text safe for a terminal and for lines of fields: it escapes characters that do not print, such as
// escape sequences, tabs, line breaks and changes of the writing direction, as Go does. Invalid UTF-8 becomes U+FFFD.
func Text(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) { // a single byte may be a control character for a terminal
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
