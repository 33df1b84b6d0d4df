package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// elsewhere accepts connections of this machine as if they came from other addresses.
type elsewhere struct {
	net.Listener
	from atomic.Pointer[string]
}

type connFrom struct {
	*net.TCPConn
	from net.Addr
}

func (c connFrom) RemoteAddr() net.Addr { return c.from }

func (l *elsewhere) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	from, err := net.ResolveTCPAddr("tcp", *l.from.Load())
	return connFrom{conn.(*net.TCPConn), from}, err
}

// Idle connections are files that the spool and the database may need.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &elsewhere{Listener: listener}
	var log pgtest.Output
	s := start(t, func(c *app.Config) {
		c.Listener, c.Connections, c.Log = l, app.Connections{All: 9, PerClient: 3}, slog.New(slog.NewTextHandler(&log, nil))
		c.Proxies, err = auth.ParseProxies([]string{"203.0.113.80"})
		if err != nil {
			t.Fatal(err)
		}
	})
	// dial leaves a connection open after a request; it returns an error if the service closes it without a response.
	dial := func(from string) (io.Closer, error) {
		t.Helper()
		l.from.Store(&from)
		conn, err := net.Dial("tcp", s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(pgtest.Timeout)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") // which fails if it is closed already
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Fatal(err)
		}
		return conn, err
	}
	open := func(from string, n int) (last io.Closer) {
		t.Helper()
		for range n {
			if last, err = dial(from); err != nil {
				t.Errorf("a connection from %s: %v", from, err)
			}
		}
		return last
	}
	full := func(from string) {
		t.Helper()
		if _, err := dial(from); err == nil {
			t.Errorf("a connection too many from %s was accepted", from)
		}
	}
	one := open("203.0.113.9:1", 3)
	full("203.0.113.9:1")
	open("[2001:db8::1]:1", 1)
	open("[2001:db8::2]:1", 2)
	full("[2001:db8::3]:1")
	one.Close()
	pgtest.Eventually(t, "there is room again", func() bool { _, err := dial("203.0.113.9:1"); return err == nil })

	// Those that have many clients, up to all.
	open("127.0.0.1:1", 1)
	open("[::ffff:10.0.0.1]:1", 1)
	last := open("203.0.113.80:1", 1)
	full("203.0.113.80:1")
	full("127.0.0.1:1")
	last.Close()
	pgtest.Eventually(t, "there is room again", func() bool { _, err := dial("203.0.113.80:1"); return err == nil })
	if n := strings.Count(log.String(), "refused connections"); n < 1 || n >= 5 { // once a minute
		t.Errorf("it was logged %d times:\n%s", n, log.String())
	}
}
