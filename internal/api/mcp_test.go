package api_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// A call may wait longer than the server lets requests take. Who is slow to send it may not.
func TestSlowBodiesOfCallsEnd(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
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
	server.Start()
	t.Cleanup(server.Close)

	const size = 70 << 10 // more than a body may have
	for name, test := range map[string]struct {
		size int
		body string
		want int
	}{"slow": {1000, "{", http.StatusBadRequest}, "large": {size, strings.Repeat(" ", size), http.StatusRequestEntityTooLarge}} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(pgtest.Timeout)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\nContent-Type: application/json\r\n"+
			"Accept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n%s", test.size, test.body)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != test.want || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %+v (%v)", name, res, err)
		}
	}
}
