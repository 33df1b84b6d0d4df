//go:build linux

package faults

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy sits between a service and PostgreSQL, reads the protocol and injects faults.
type proxy struct {
	host   string
	target string

	delay       atomic.Int64 // nanoseconds by which responses are delayed
	delayCommit atomic.Int64 // nanoseconds by which those to commits are delayed as well
	refuse      atomic.Bool  // new connections are closed at once
	swallow     atomic.Bool  // nothing is forwarded or closed, as with a pulled cable
	cutCommits  atomic.Int64 // each commit of this number loses its response; 0: none

	commits atomic.Int64 // successful ones
	cut     atomic.Int64 // of these, those whose response was dropped

	mu    sync.Mutex
	links map[*link]bool
}

// link is one client's connection.
type link struct {
	client, server net.Conn
	committing     atomic.Bool // a commit was sent
	idle           atomic.Bool // no transaction is open
}

func newProxy(t testing.TB, p *place, target string) *proxy {
	t.Helper()
	x := &proxy{host: p.host(), target: target, links: map[*link]bool{}}
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", x.host, databasePort))
	must(t, err)
	t.Cleanup(func() {
		listener.Close()
		x.cutAll()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go x.serve(client)
		}
	}()
	return x
}

func (x *proxy) url() string { return urlAt(x.host) }

func (x *proxy) serve(client net.Conn) {
	if x.refuse.Load() {
		client.Close()
		return
	}
	server, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", x.target, databasePort), 10*time.Second)
	if err != nil {
		client.Close()
		return
	}
	l := &link{client: client, server: server}
	x.mu.Lock()
	refused := x.refuse.Load() // since it was asked above, and then cutAll may not have seen this link
	if !refused {
		x.links[l] = true
	}
	x.mu.Unlock()
	if refused {
		l.close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { x.fromClient(l); l.close() })
	both.Go(func() { x.fromServer(l); l.close() })
	both.Wait()
	x.mu.Lock()
	delete(x.links, l)
	x.mu.Unlock()
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// cutAll cuts all connections.
func (x *proxy) cutAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for l := range x.links {
		l.close()
	}
}

// fromClient forwards messages and detects those that commit: COMMIT, and an INSERT of events outside a transaction, alone or
// at the head of a pipeline.
func (x *proxy) fromClient(l *link) {
	inserts := map[string]bool{} // the names of prepared statements
	first := true                // the first message has no type
	for {
		kind, message, err := readMessage(l.client, first)
		if err != nil {
			return
		}
		first = false
		for x.swallow.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		commits := false
		switch body := message[min(5, len(message)):]; kind {
		case 'P':
			name, query, _ := bytes.Cut(body, []byte{0})
			inserts[string(name)] = bytes.Contains(query, []byte("name: InsertEvents")) ||
				bytes.Contains(query, []byte("name: InsertMissingEvents"))
		case 'B':
			_, rest, _ := bytes.Cut(body, []byte{0})
			name, _, _ := bytes.Cut(rest, []byte{0})
			commits = inserts[string(name)] && l.idle.Load()
		case 'Q':
			commits = bytes.EqualFold(bytes.TrimRight(body, "\x00; "), []byte("commit"))
		}
		if commits {
			l.committing.Store(true)
		}
		if _, err := l.server.Write(message); err != nil {
			return
		}
	}
}

// fromServer forwards responses, those to a commit once they are complete. After a successful commit it may drop the
// response and cut the link.
func (x *proxy) fromServer(l *link) {
	var held []byte
	done := false
	for {
		kind, message, err := readMessage(l.server, false)
		if err != nil {
			return
		}
		for x.swallow.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		done = done || kind == 'C'
		if l.committing.Load() {
			held = append(held, message...)
			message = nil
		}
		if kind == 'Z' {
			time.Sleep(time.Duration(x.delay.Load()))
			if l.committing.Load() {
				time.Sleep(time.Duration(x.delayCommit.Load()))
			}
			if l.committing.Swap(false) && done {
				n, every := x.commits.Add(1), x.cutCommits.Load()
				if every > 0 && n%every == 0 {
					x.cut.Add(1)
					return
				}
			}
			done = false
			message, held = append(held, message...), nil
			l.idle.Store(message[len(message)-1] == 'I')
		}
		if _, err := l.client.Write(message); err != nil {
			return
		}
	}
}

// readMessage reads a message of PostgreSQL's protocol.
func readMessage(r io.Reader, first bool) (kind byte, message []byte, err error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	if !first {
		kind = head[0]
	}
	rest := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	message = append(head, make([]byte, max(rest, 0))...)
	_, err = io.ReadFull(r, message[len(head):])
	return kind, message, err
}
