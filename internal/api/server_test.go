package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// newServer serves the API from a database. One request may take a second.
func newServer(t *testing.T, pool *pgxpool.Pool, http2 bool) *httptest.Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	hub := live.New(pool, log, presence.Now)
	t.Cleanup(hub.Close)
	mux := http.NewServeMux()
	api.Register(mux, api.Config{
		History: history.NewReader(pool, presence.Now), Live: hub, Streams: 10, Log: log, Now: presence.Now,
		Auth: auth.New(auth.Config{Pool: pool, APITokens: []string{"token"}, Log: log, Now: presence.Now}),
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ReadTimeout = time.Second
	server.EnableHTTP2 = http2
	if http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func newRequest(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token")
	return r
}

// queries counts those that contain a text.
type queries struct {
	text string
	n    atomic.Int64
}

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, q.text) {
		q.n.Add(1)
	}
	return ctx
}

func (*queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// HEAD asks whether there is a list, not for all of it.
func TestHeadReadsOnePage(t *testing.T) {
	t.Parallel()
	config := pgtest.New(t).Config()
	pages := &queries{text: "-- name: EventPage "}
	config.ConnConfig.Tracer = pages
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	server := newServer(t, pool, false)
	pgtest.Exec(t, pool, `SELECT make_partition('events', '2026-10-01')`)
	pgtest.Exec(t, pool, `WITH i AS (INSERT INTO instances (name) VALUES ('i') RETURNING id),
		c AS (INSERT INTO contacts (instance_id, phone) SELECT id, '5544' FROM i RETURNING id)
		INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, '2026-10-01Z'::timestamptz + n * interval '1 s', 0, 1 FROM c, generate_series(1, 2500) AS n`)
	url := server.URL + "/v1/instances/i/contacts/5544/events?from=2026-10-01&to=2026-10-02&format=ndjson"
	for method, want := range map[string]int64{http.MethodHead: 1, http.MethodGet: 3} {
		pages.n.Store(0)
		res, err := server.Client().Do(newRequest(t, method, url))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := pages.n.Load(); got != want || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %s %s, %d pages were read, want %d", method, res.Status, res.Header.Get("Content-Type"), got, want)
		}
	}
}

// In HTTP/2, a write deadline that passes ends the stream, even if nothing is written.
func TestQuietFeedStaysOpenOverHTTP2(t *testing.T) {
	t.Parallel()
	server := newServer(t, pgtest.New(t), true)
	res, err := server.Client().Do(newRequest(t, http.MethodGet, server.URL+"/v1/live"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", res.Proto, res.Status)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, res.Body)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Error(err)
	case <-time.After(6 * time.Second): // longer than a client may take to read
	}
}
