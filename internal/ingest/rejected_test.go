package ingest_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

func payload(at time.Time, body string) ingest.Rejected {
	return ingest.Rejected{ID: uuid.New(), ReceivedAt: at, Gateway: "zapi", Reason: "a reason", Bytes: len(body), Body: []byte(body)}
}

func config(t *testing.T, pool *pgxpool.Pool) ingest.Config {
	return ingest.Config{
		Pool: pool, Timeout: pgtest.Timeout, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func openSpool(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, 1<<20, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRejectedPayloadsStayWithinMaxBytes(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c := config(t, pool)
	c.Rejected.MaxBytes = 100_000
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	for i := range 100 {
		if err := w.Reject(t.Context(), payload(noon.Add(time.Duration(i)*time.Second), strings.Repeat("x", 2000))); err != nil {
			t.Fatal(err)
		}
		if n := pgtest.Get[int64](t, pool, "SELECT coalesce(sum(length(body)), 0) FROM rejected_payloads"); n > 100_000 {
			t.Fatalf("%d bytes are kept", n)
		}
	}
	var oldest time.Time
	var kept int
	err := pool.QueryRow(t.Context(), "SELECT count(*), min(received_at) FROM rejected_payloads").Scan(&kept, &oldest)
	if err != nil || kept < 35 || !oldest.Equal(noon.Add(time.Duration(100-kept)*time.Second)) {
		t.Errorf("%d are kept, the oldest of %s, %v", kept, oldest, err)
	}
}

func TestRejectedPayloadsAreDeletedAfterTheirRetention(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, age := range []time.Duration{29, 31} {
		c := config(t, pool)
		w := ingest.NewWriter(c)
		if err := w.Reject(t.Context(), payload(time.Now().Add(-age*24*time.Hour), "x")); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	c := config(t, pool)
	c.Rejected.Keep = 30 * 24 * time.Hour
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	pgtest.Eventually(t, "the older one is deleted", func() bool { return pgtest.Get[int64](t, pool, "SELECT count(*) FROM rejected_payloads") == 1 })
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM rejected_payloads WHERE received_at > now() - interval '30 days'"); n != 1 {
		t.Error("the younger one is deleted")
	}
}

// Concurrent payloads share a transaction, as events do, but none with events.
func TestRejectedPayloadsAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	pool, sent := traced(t)
	c := config(t, pool)
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	release := hold(t, pool, "rejected_payloads")
	var wg sync.WaitGroup
	reject := func() {
		if err := w.Reject(t.Context(), payload(noon, "x")); err != nil {
			t.Error(err)
		}
	}
	wg.Go(reject)
	pgtest.Eventually(t, "the first waits for the lock", func() bool { return waits(t, pool, "rejected_payloads") })
	for range 99 {
		wg.Go(reject)
	}
	pgtest.Eventually(t, "payloads gather", func() bool { return w.QueuedRejected() == 99 })
	e := event(a, noon, 0)
	if err := w.Write(t.Context(), &e); err != nil { // events do not wait for them
		t.Error(err)
	}
	release()
	wg.Wait()
	if n := strings.Count(sent.take(), "AddRejected"); n > 10 {
		t.Errorf("100 payloads took %d statements", n)
	}
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM rejected_payloads"); n != 100 {
		t.Errorf("%d are kept", n)
	}
}

// While the database is unavailable, rejected payloads fill their own spool and no other.
func TestRejectedPayloadsHaveTheirOwnSpool(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	dir := t.TempDir()
	events, rejected := openSpool(t, filepath.Join(dir, "events")), openSpool(t, filepath.Join(dir, "rejected"))
	c := config(t, pool)
	c.Spool, c.Rejected.Spool = events, rejected
	ready := make(chan struct{})
	c.Prepare = func(ctx context.Context) error {
		select {
		case <-ready:
			return nil
		default:
			return fmt.Errorf("the database is unavailable")
		}
	}
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	full := 0
	for range 20 {
		if err := w.Reject(t.Context(), payload(noon, strings.Repeat("x", 64<<10))); err != nil {
			full++
		}
	}
	e := event(a, noon, 0)
	if err := w.Write(t.Context(), &e); err != nil {
		t.Errorf("an event: %v", err)
	}
	if full == 0 || events.Bytes() > 1000 || rejected.Bytes() < 500_000 {
		t.Errorf("%d payloads did not fit; the spools have %d bytes of events and %d of payloads", full, events.Bytes(), rejected.Bytes())
	}
	close(ready)
	pgtest.Eventually(t, "both spools are drained", func() bool { return events.Bytes() == 0 && rejected.Bytes() == 0 })
	if n := pgtest.Get[int64](t, pool, "SELECT count(*) FROM rejected_payloads WHERE length(body) = 65536"); n != int64(20-full) {
		t.Errorf("%d are kept, want %d", n, 20-full)
	}
	want(t, pool, "[a]")
}

// record is a record of the spool as any version writes it.
func record(payload string) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PLS1"), uint32(len(payload)))
	table := crc32.MakeTable(crc32.Castagnoli)
	b = binary.BigEndian.AppendUint32(b, crc32.Update(crc32.Checksum(b[4:8], table), table, []byte(payload)))
	return append(b, payload...)
}

func TestDrainSetsUnknownRecordsAside(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	dir := t.TempDir()
	spooled := func(at time.Time, status presence.Status) string {
		return fmt.Sprintf(`{"event":{"instance":"i","phone":"p","status":%d,"at":%d,"seq":1}}`, status, at.UnixMicro())
	}
	unknown := []string{`{"message":{"at":1}}`, "not JSON", spooled(noon, 77)}
	s := openSpool(t, dir) // makes the directory
	s.Close()
	content := slices.Concat(
		record(spooled(noon, a)), record(unknown[0]), record(unknown[1]), record(unknown[2]), record(spooled(noon.Add(time.Second), b)),
	)
	if err := os.WriteFile(filepath.Join(dir, "0", "000000000001.log"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := config(t, pool)
	c.Spool = openSpool(t, dir)
	c.Prepare = func(context.Context) error { return nil } // so that it starts unavailable
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	pgtest.Eventually(t, "the spool is drained", func() bool { return c.Spool.Bytes() == 0 && !w.Unavailable() })
	want(t, pool, "[a][b]")
	var aside []string
	for _, name := range bad(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		aside = append(aside, string(b))
	}
	if !slices.Equal(aside, unknown) {
		t.Errorf("set aside are %q, want %q", aside, unknown)
	}
}

func bad(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "0", "*.bad"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A spool that cannot be read says nothing about the database.
func TestDrainChecksTheDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	dir := t.TempDir()
	c := config(t, pool)
	c.Spool = openSpool(t, dir)
	if err := c.Spool.Append([][]byte{[]byte("x")}); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "0", "000000000001.log")
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(segment, 0o700); err != nil { // which no read can read
		t.Fatal(err)
	}
	c.Prepare = func(context.Context) error { return nil }
	w := ingest.NewWriter(c)
	t.Cleanup(w.Close)
	pgtest.Eventually(t, "the database is there", func() bool { return !w.Unavailable() })
	e := event(a, noon, 0)
	if err := w.Write(t.Context(), &e); err != nil {
		t.Error(err)
	}
	want(t, pool, "[a]")
}
