package terminal

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text makes untrusted text safe for a terminal and for lines of fields: it escapes characters that do not print, such as
// escape sequences, tabs, line breaks and changes of the writing direction, as Go does. Invalid UTF-8 becomes U+FFFD.
func Text(s string) string {
	return escape(s, func(r rune) string {
		quoted := strconv.QuoteRuneToASCII(r)
		return quoted[1 : len(quoted)-1]
	})
}

// JSON makes a JSON text safe in the same way; it stays the same JSON. Line breaks between its parts stay, too.
func JSON(s string) string {
	return escape(s, func(r rune) string {
		if r == '\n' {
			return "\n"
		}
		var out string
		for _, unit := range utf16.AppendRune(nil, r) {
			out += fmt.Sprintf("\\u%04x", unit)
		}
		return out
	})
}

func escape(s string, how func(rune) string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) { // a single byte may be a control character for a terminal
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			b.WriteString(how(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }
