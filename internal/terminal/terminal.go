// Package terminal writes for people: a progress line, a contact's timeline, tables of durations, heat maps; and for a
// pipe the same as tab-separated lines. It draws what it is given: it asks neither a database nor a clock, and it reads no keys.
package terminal

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"golang.org/x/term"
)

// defaultWidth is the width of a terminal that does not tell its own.
const defaultWidth = 80

// IsTerminal reports whether what is written to w appears on a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width is the width of w's terminal in columns, 80 if w is none or does not tell.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultWidth
}

// Colour reports whether to write to w in colour: it is a terminal, not a dumb one, and NO_COLOR is unset or empty.
func Colour(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
}

// The parameters of ANSI's sequence for colours, of the 16 that follow the user's theme.
const (
	bold    = "1"
	red     = "31"
	green   = "32"
	yellow  = "33"
	cyan    = "36"
	dimGrey = "90"
)

func paint(colour bool, code, s string) string {
	if !colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Length writes a length of time in seconds for people: "0.4 s", "35 s", "4 m 05 s", "1 h 03 m", "2 d 04 h". It is no
// time.Duration since the sums over many contacts are longer than the 292 years that one holds.
func Length(seconds float64) string {
	if tenths := math.Round(seconds * 10); tenths < 100 && math.Mod(tenths, 10) != 0 {
		return strconv.FormatFloat(tenths/10, 'f', 1, 64) + " s"
	}
	// Each unit is tried after rounding to it, so that 59.7 s is a minute, not 60 s.
	s := int64(math.Round(seconds))
	if s < 60 {
		return fmt.Sprintf("%d s", s)
	}
	if s < 60*60 {
		return fmt.Sprintf("%d m %02d s", s/60, s%60)
	}
	m := int64(math.Round(seconds / 60))
	if m < 24*60 {
		return fmt.Sprintf("%d h %02d m", m/60, m%60)
	}
	h := int64(math.Round(seconds / (60 * 60)))
	return fmt.Sprintf("%s d %02d h", Count(h/24), h%24)
}

// Count writes a whole number with commas between its thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
