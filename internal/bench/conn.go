package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"
)

// conn is a kept-alive HTTP/1.1 connection with one request under way at a time. It does not use net/http's client, which takes
// more CPU than the receiver on the same machine.
type conn struct {
	net.Conn
	buf []byte // the part of the response read so far
}

type response struct {
	status int
	id     bool // the body has an id: the event is stored
	close  bool // it was the connection's last
}

// dial connects to the host of a URL. All operations fail after the deadline or the end of ctx.
func dial(ctx context.Context, target *url.URL, deadline time.Time) (*conn, error) {
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var c net.Conn
	var err error
	address := net.JoinHostPort(target.Hostname(), port)
	if target.Scheme == "https" {
		c, err = new(tls.Dialer).DialContext(ctx, "tcp", address)
	} else {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	// Set one deadline for all requests: one for each would cost more than reading the response.
	if err := c.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &conn{Conn: c, buf: make([]byte, 0, 4<<10)}, nil
}

// exchange sends a request and reads its response. After an error the connection is unusable.
func (c *conn) exchange(request []byte) (response, error) {
	if _, err := c.Write(request); err != nil {
		return response{}, err
	}
	c.buf = c.buf[:0]
	for {
		if len(c.buf) == cap(c.buf) {
			c.buf = append(c.buf, 0)[:len(c.buf)] // grows
		}
		n, err := c.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		a, size, bad := parse(c.buf)
		switch {
		case bad != nil:
			return a, bad
		case size > 0 && len(c.buf) >= size:
			return a, nil
		case err != nil:
			return a, err
		}
	}
}

// parse reads the beginning of a response and returns its total size in bytes, or 0 while that is unknown. Receivers send
// bodies with Content-Length: without one, the connection is closed after the headers.
func parse(b []byte) (a response, size int, err error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return a, 0, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) || head < len("HTTP/1.1 200") {
		return a, 0, fmt.Errorf("not an HTTP/1.1 response: %.40q", b)
	}
	if a.status, err = strconv.Atoi(string(b[9:12])); err != nil {
		return a, 0, fmt.Errorf("not an HTTP/1.1 response: %.40q", b)
	}
	length := -1
	for rest := b[:head]; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if value, is := header(line, "content-length"); is {
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return a, 0, fmt.Errorf("Content-Length is %.40q", value)
			}
		} else if value, is := header(line, "connection"); is && bytes.EqualFold(value, []byte("close")) {
			a.close = true
		}
	}
	if size = head + len("\r\n\r\n"); length < 0 {
		a.close = true
		return a, size, nil
	}
	if size += length; len(b) >= size {
		a.id = bytes.Contains(b[head:size], []byte(`"id":`))
	}
	return a, size, nil
}

// header returns the value of a header line with the given lower-case name.
func header(line []byte, name string) (value []byte, is bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || line[0]|0x20 != name[0] || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}
