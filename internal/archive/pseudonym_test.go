package archive_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/parquet-go/parquet-go"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// An export with pseudonyms has each phone's hash, nothing that a phone or name can be in, and no order by phone. It cannot
// be imported.
func TestPseudonyms(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	event := func(instance, phone string, after int) presence.Event {
		return presence.Event{
			InstanceID: instance, Phone: phone, Status: presence.Composing, ReceivedAt: at.Add(time.Duration(after) * 24 * time.Hour),
			Extra: []byte(`{"senderName":"Maria","participantPhone":"5544900000001"}`),
		}
	}
	fill := func() *pgxpool.Pool {
		pool := pgtest.New(t)
		if _, err := ingest.NewStore(pool).Merge(t.Context(), []presence.Event{
			event("i", "5544900000002", 0), event("i", "5544900000001", 1), event("i", "5544900000002", 40), event("j", "5544900000001", 41),
		}); err != nil {
			t.Fatal(err)
		}
		if err := intervals.Refresh(t.Context(), pool, presence.Now, 0); err != nil {
			t.Fatal(err)
		}
		return pool
	}
	pool := fill()
	export := func(pool *pgxpool.Pool, what archive.Selection) (phones []string, text string) {
		t.Helper()
		what.Pseudonyms = true
		var out bytes.Buffer
		if _, err := archive.Export(t.Context(), pool, &out, what, nil); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out.Bytes()) {
			e, err := gateway.DecodeRecord(line)
			if err != nil || e.Extra != nil {
				t.Fatalf("%s: %v", line, err)
			}
			phones = append(phones, e.Phone)
		}
		return phones, out.String()
	}
	got, text := export(pool, archive.Selection{})
	if len(got) != 4 || got[0] == got[1] || got[2] != got[0] || got[3] != got[1] {
		t.Fatalf("the pseudonyms are %q", got)
	}
	if strings.Contains(text, "55449") || strings.Contains(text, "Maria") {
		t.Errorf("the export has a phone or a name: %s", text)
	}
	if again, _ := export(pool, archive.Selection{InstanceID: "j"}); len(again) != 1 || again[0] != got[1] {
		t.Errorf("another export of the phone has %q, the first %q", again, got[1])
	}
	otherKey := fill()
	pgtest.Exec(t, otherKey, "UPDATE erasure_key SET key = sha256(key)")
	if other, _ := export(otherKey, archive.Selection{}); other[0] == got[0] {
		t.Error("another key gives the same pseudonyms")
	}
	invalid := 0
	count, err := archive.Import(t.Context(), pool, strings.NewReader(text), func(int64, error) { invalid++ }, nil)
	if err != nil || count.Invalid != 4 || invalid != 4 || count.Added != 0 {
		t.Errorf("importing it: %+v, %v", count, err)
	}

	dir := t.TempDir()
	if _, err := archive.ExportParquet(t.Context(), pool, dir, archive.Selection{Pseudonyms: true}, nil); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range []string{"events_2026_10.parquet", "events_2026_11.parquet", "intervals_2026_10.parquet", "intervals_2026_11.parquet"} {
		rows, err := parquet.ReadFile[struct {
			Phone string  `parquet:"phone"`
			Extra *string `parquet:"extra,optional"`
		}](filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			found[r.Phone]++
			if r.Extra != nil {
				t.Errorf("%s has unknown fields: %s", name, *r.Extra)
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || bytes.Contains(b, []byte("55449")) {
			t.Errorf("%s has a phone (%v)", name, err)
		}
	}
	if want := map[string]int{got[0]: 6, got[1]: 6}; !maps.Equal(found, want) { // each event makes a visit and a typing span
		t.Errorf("the Parquet files have %v, want %v", found, want)
	}
}
