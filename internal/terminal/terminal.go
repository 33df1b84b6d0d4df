// Package terminal draws results of package history for a terminal: timelines, tables of durations, heat maps and lists. It
// also shows the progress of long commands. For a pipe it writes the same rows, tab-separated.
package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is used if the width of a terminal is unknown.
const defaultWidth = 80

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// PrintJSON writes a value to standard output as JSON, indented.
func PrintJSON(v any) error { return printJSON(v, "  ") }

// PrintJSONLine writes it in one line.
func PrintJSONLine(v any) error { return printJSON(v, "") }

func printJSON(v any, indent string) error {
	var b strings.Builder
	out := json.NewEncoder(&b)
	out.SetIndent("", indent)
	if err := out.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if IsTerminal(os.Stdout) {
		text = JSON(text)
	}
	_, err := os.Stdout.WriteString(text)
	return err
}

// Screen has the properties of a terminal.
type Screen struct {
	Width  int // columns
	Colour bool
}

// ScreenOf returns the screen of w: 80 columns if w is not a terminal or its width is unknown; in colour if w is a terminal,
// TERM is not dumb, and NO_COLOR is unset or empty.
func ScreenOf(w io.Writer) Screen {
	s := Screen{defaultWidth, IsTerminal(w) && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""}
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			s.Width = width
		}
	}
	return s
}

// Parameters of the ANSI sequence for the 16 colours that follow the user's theme.
const (
	bold    = "1"
	red     = "31"
	green   = "32"
	yellow  = "33"
	cyan    = "36"
	dimGrey = "90"
)

func (s Screen) paint(code, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// minWidth is the minimum width: on narrower terminals lines are too long.
const minWidth = 40

// drawing collects the output for a screen.
type drawing struct {
	Screen
	strings.Builder
}

func (s Screen) draw() *drawing {
	s.Width = max(s.Width, minWidth)
	return &drawing{Screen: s}
}

// Length formats a duration in seconds: "0.4 s", "35 s", "4 m 05 s", "1 h 03 m", "2 d 04 h". It does not use time.Duration,
// since sums over many contacts may exceed 292 years.
func Length(seconds float64) string {
	if tenths := math.Round(seconds * 10); tenths < 100 && math.Mod(tenths, 10) != 0 {
		return strconv.FormatFloat(tenths/10, 'f', 1, 64) + " s"
	}
	// Round before choosing the unit, so that 59.7 s is a minute, not 60 s.
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

// Count formats a number with commas between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
