package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// large imports events with 60 KB of unknown fields.
func large(t *testing.T, s *service, n int) {
	t.Helper()
	var lines strings.Builder
	extra := `,"x":"` + strings.Repeat("x", 60_000) + `"}` + "\n"
	for i := range n {
		line := record("i", "p", []string{"AVAILABLE", "PAUSED"}[i%2], at("2026-10-01T10:00:00Z").Add(time.Duration(i)*time.Second))
		lines.WriteString(strings.TrimSuffix(line, "}\n") + extra)
	}
	s.load(t, lines.String())
}

func TestPagesAreLimitedInBytes(t *testing.T) {
	t.Parallel()
	s := start(t)
	const n = 100
	large(t, s, n)
	const list = "/v1/instances/i/contacts/p/events?from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z"
	for _, order := range []string{"asc", "desc"} {
		seen := map[string]bool{}
		for cursor := ""; ; {
			a := s.do(t, request(t, http.MethodGet, s.url+list+"&limit=1000&order="+order+"&cursor="+cursor, nil))
			var page events
			if err := json.Unmarshal(a.body, &page); err != nil {
				t.Fatal(err)
			}
			if len(a.body) > 1<<20+128<<10 || len(page.Events) == 0 {
				t.Fatalf("%s: a page of %d bytes and %d events", order, len(a.body), len(page.Events))
			}
			for _, e := range page.Events {
				seen[e.ID] = true
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		if len(seen) != n {
			t.Errorf("%s: %d events of %d", order, len(seen), n)
		}
	}
	for query, want := range map[string]int{"": n, "&limit=70": 70, "&limit=1": 1, "&limit=100": n, "&limit=1000": n} {
		a := s.do(t, request(t, http.MethodGet, s.url+list+"&format=ndjson"+query, nil))
		if got := bytes.Count(a.body, []byte("\n")); got != want {
			t.Errorf("%q: %d lines, want %d", query, got, want)
		}
	}
}

// Readers that do not read hold their places; others get theirs.
func TestSlowReadersDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"slow", "other"} })
	large(t, s, 200) // more than the sockets buffer
	const list = "/v1/instances/i/contacts/p/events?from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z"
	for range 12 {
		conn, err := net.Dial("tcp", s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s&format=ndjson HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer slow\r\n\r\n", list)
		if line, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("%q %v", line, err)
		}
	}
	get := func(token string) response {
		req := request(t, http.MethodGet, s.url+list+"&limit=1", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		return s.do(t, req)
	}
	if a := get("other"); a.StatusCode != http.StatusOK {
		t.Errorf("another reader: %s %s", a.Status, a.body)
	}
	a := get("slow")
	if refused(t, a, http.StatusServiceUnavailable); a.Header.Get("Retry-After") == "" {
		t.Error("the response does not say when to retry")
	}
	req := request(t, http.MethodPost, s.url+"/webhooks/zapi/hook", strings.NewReader(body("i", "p", "COMPOSING")))
	idOf(t, s.do(t, req))
}

// While nothing can be read, waiting questions end in time, and the service is ready.
func TestExhaustedPoolRespondsInTime(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, record("i", "p", "AVAILABLE", at("2026-10-01T10:00:00Z")))
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "LOCK TABLE contacts, instances")
	const questions = 40
	var unavailable atomic.Int32
	ended := make(chan response, questions)
	for i := range questions {
		path := []string{"/v1/instances/i/durations", "/v1/instances/i/contacts/p/timeline"}[i%2]
		go func() {
			a := s.do(t, request(t, http.MethodGet, s.url+path, nil))
			if a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "" {
				unavailable.Add(1)
			}
			ended <- a
		}()
	}
	pgtest.Eventually(t, "questions that wait for others end", func() bool { return unavailable.Load() >= questions-8 })
	if a := s.do(t, request(t, http.MethodGet, s.url+"/readyz", nil)); a.StatusCode != http.StatusOK {
		t.Errorf("not ready: %s", a.body)
	}
	if err := tx.Commit(t.Context()); err != nil && err != pgx.ErrTxClosed {
		t.Fatal(err)
	}
	for range questions {
		if a := <-ended; a.StatusCode != http.StatusOK && a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s %s", a.Request.URL, a.Status, a.body)
		}
	}
	if a := s.do(t, request(t, http.MethodGet, s.url+"/v1/instances/i/durations", nil)); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s %s", a.Status, a.body)
	}
}
