package archive_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestImportRefusesEventsInTheFuture(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var lines []byte
	for _, ahead := range []time.Duration{-time.Hour, 4 * time.Minute, 10 * time.Minute, -time.Minute} {
		lines = gateway.AppendRecord(lines, presence.Event{
			InstanceID: "i", Phone: "1", Status: presence.Composing, ReceivedAt: presence.Now().Add(ahead),
		})
	}
	reasons := map[int64]error{}
	invalid := func(line int64, reason error) { reasons[line] = reason }
	count, err := archive.Import(t.Context(), pool, strings.NewReader(string(lines)), invalid, nil)
	if err != nil || count != (archive.Imported{Added: 3, Invalid: 1}) {
		t.Errorf("%+v, %v", count, err)
	}
	var field *gateway.FieldError
	if len(reasons) != 1 || !errors.As(reasons[3], &field) || field.Field != "receivedAt" {
		t.Errorf("the invalid lines are %v", reasons)
	}
}

// Blanks after an event make a line too long too, also if the rest of it, which is read last, has nothing else.
func TestImportCountsLinesThatAreTooLong(t *testing.T) {
	t.Parallel()
	event := string(gateway.AppendRecord(nil, presence.Event{InstanceID: "i", Phone: "1", Status: presence.Paused, ReceivedAt: presence.Now()}))
	long := strings.TrimSuffix(event, "\n") + strings.Repeat(" ", 1<<20+200)
	var invalid []string
	count, err := archive.Import(t.Context(), pgtest.New(t), strings.NewReader(long+"\n"+event+long),
		func(line int64, reason error) { invalid = append(invalid, fmt.Sprintf("%d: %v", line, reason)) }, nil)
	want := []string{"1: the line is longer than 1048576 bytes", "3: the line is longer than 1048576 bytes"}
	if err != nil || count != (archive.Imported{Added: 1, Invalid: 2}) || !slices.Equal(invalid, want) {
		t.Errorf("%+v, %v, invalid %q", count, err, invalid)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		"": "", "{": "{", "{}\n": "{}\n",
		"\xef\xbb\xbf{}\n": "{}\n", "\xef\xbb\xbf": "",
		"\xff\xfe{\x00":    "the input is UTF-16",
		"\xfe\xff\x00{":    "the input is UTF-16",
		"\x1f\x8b\x08\x00": "the input is compressed",
	} {
		r, err := archive.Text(strings.NewReader(input))
		if err != nil {
			if !strings.HasPrefix(err.Error(), want) || want == "" {
				t.Errorf("%q: %v", input, err)
			}
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", input, got, err, want)
		}
	}
}
