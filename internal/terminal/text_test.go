package terminal_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

func TestTextEscapesUnprintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5544999999999": "5544999999999", "é…@lid": "é…@lid", "a b": "a b", `a\b"c'`: `a\b"c'`,
		"\x1b]0;owned\x07": `\x1b]0;owned\a`, "\x1b[2J": `\x1b[2J`, "a\tb\nc\r": `a\tb\nc\r`, "\u009b31m": `\u009b31m`, "\u202e123": `\u202e123`, "\x7f": `\x7f`,
	} {
		if got := terminal.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestJSONStaysTheSame(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{\n  \"a\": \"é\"\n}\n": "{\n  \"a\": \"é\"\n}\n", "\"\u009b31m\"": `"\u009b31m"`, "\"\u202e\x7f\"": `"\u202e\u007f"`,
		"\"\U000e0067\"": `"\udb40\udc67"`,
	} {
		if got := terminal.JSON(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[2J\u202e")
	f.Add("\x9b2J")
	f.Fuzz(func(t *testing.T, s string) {
		if got := terminal.Text(s); !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: %q", s, got)
		}
	})
}

// A contact's phone is whatever a sender says.
func TestPhonesCannotControlTheTerminal(t *testing.T) {
	t.Parallel()
	const phone = "55\x1b[2J\t1\n2"
	from := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	ranks, summaries, screen := []presence.Rank{{Phone: phone}}, []presence.ContactSummary{{Phone: phone}}, terminal.Screen{Width: 80}
	written := terminal.Plain(ranks) + terminal.PlainComparison(summaries, from, from.Add(time.Hour)) +
		screen.Top(ranks, false, from, from.Add(time.Hour)) + screen.Comparison(summaries, from, from.Add(time.Hour))
	if strings.Contains(written, "\x1b") || strings.Contains(written, "\t1") || strings.Count(written, `55\x1b[2J\t1\n2`) != 6 {
		t.Errorf("%q", written)
	}
}
