package api_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// A call may wait longer than the server lets requests take. Who is slow to send it may not.
func TestSlowBodiesOfCallsEnd(t *testing.T) {
	t.Parallel()
	server := newServer(t, pgtest.New(t), false)
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
