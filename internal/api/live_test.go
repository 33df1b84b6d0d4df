package api_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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

// A client that does not read is disconnected, others are not, and it may resume.
func TestSlowClientsAreDisconnected(t *testing.T) {
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
	ended := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		ended <- r.URL.Path + "?" + r.URL.RawQuery
	}))
	t.Cleanup(server.Close)

	open := func(query, lastID string) *bufio.Reader {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		err = errors.Join(conn.(*net.TCPConn).SetReadBuffer(64<<10), conn.SetReadDeadline(time.Now().Add(pgtest.Timeout))) // a buffer that is soon full
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/live?%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\nLast-Event-ID: %s\r\n\r\n", query, lastID)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%+v %v", response, err)
		}
		return bufio.NewReader(response.Body)
	}
	slow, quick := open("instance=i", ""), open("phone=contact-7", "")
	messages := make(chan string, 10)
	go func() {
		for lines := bufio.NewScanner(quick); lines.Scan(); {
			if _, data, ok := strings.Cut(lines.Text(), "data: "); ok {
				messages <- data
			}
		}
		close(messages)
	}()
	// Until the slow one is gone. After so many rounds the buffers between are full, and a write to it waits for its timeout;
	// meanwhile there are not so many changes that the hub would forget those it has missed.
	const full = 60
	statuses := []presence.Status{presence.Composing, presence.Paused}
	now := presence.Now()
	sent := 0
	for dropped := false; !dropped; sent++ {
		var events []presence.Event
		for i := range 500 {
			events = append(events, presence.Event{
				InstanceID: "i", Phone: fmt.Sprint("contact-", i), Status: statuses[sent%2], ReceivedAt: now.Add(time.Duration(sent) * time.Microsecond),
			})
		}
		hub.Durable(events)
		select {
		case data, open := <-messages:
			if want := `"status":"` + statuses[sent%2].String(); !open || !strings.Contains(data, want) {
				t.Fatalf("the quick one gets %q, want %s", data, want)
			}
		case <-time.After(pgtest.Timeout):
			t.Fatalf("the quick one gets nothing in round %d", sent)
		}
		pause := 2 * time.Millisecond
		if sent >= full {
			pause = 100 * time.Millisecond
		}
		select {
		case which := <-ended:
			if dropped = which == "/v1/live?instance=i"; !dropped {
				t.Fatalf("%s ended", which)
			}
		case <-time.After(pause):
		}
	}
	rest, err := io.ReadAll(slow) // what was sent before the connection was cut
	t.Logf("%d rounds, the slow client has got %d bytes (%v)", sent, len(rest), err)
	text := string(rest)
	id := text[strings.LastIndex(text[:strings.LastIndex(text, "\ndata: ")], "id: ")+len("id: "):]
	id, _, _ = strings.Cut(id, "\n")
	again := open("instance=i", id)
	seen := map[string]bool{}
	for len(seen) < 500 {
		line, err := again.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %d contacts", err, len(seen))
		}
		if strings.Contains(line, "resync") {
			t.Fatalf("the hub has forgotten what the slow client missed in %d rounds", sent)
		}
		if _, data, ok := strings.Cut(line, "data: "); ok {
			if want := `"status":"` + statuses[(sent-1)%2].String(); !strings.Contains(data, want) {
				t.Fatalf("resuming gives %s, want %s", data, want)
			}
			seen[data] = true
		}
	}
}
