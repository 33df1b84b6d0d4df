package app

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/auth"
)

// Connections limits open connections of clients, including idle ones: each is a file, and the spool and the database need
// files too.
type Connections struct {
	All       int
	PerClient int // per address on the internet, or IPv6 network; not for trusted proxies and private networks
}

var defaultConnections = Connections{All: 16_000, PerClient: 1000}

// clients counts the connections.
type clients struct {
	most    Connections
	proxies []netip.Prefix
	log     *slog.Logger

	mu       sync.Mutex
	all      int
	open     map[string]int
	refused  map[net.Conn]bool // and not yet gone
	unlogged int               // refused since the last message
	logged   time.Time
}

func newClients(config Config) *clients {
	c := &clients{most: config.Connections, proxies: config.Proxies, log: config.Log, open: map[string]int{}, refused: map[net.Conn]bool{}}
	if c.most == (Connections{}) {
		c.most = defaultConnections
	}
	return c
}

// connState is for http.Server. It closes new connections over the limits.
func (c *clients) connState(conn net.Conn, state http.ConnState) {
	if state != http.StateNew && state != http.StateClosed && state != http.StateHijacked {
		return
	}
	address := conn.RemoteAddr().String()
	key := c.key(address)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state != http.StateNew && c.refused[conn]:
		delete(c.refused, conn)
	case state != http.StateNew:
		c.all--
		if c.open[key]--; c.open[key] == 0 {
			delete(c.open, key)
		}
	case c.all < c.most.All && (key == "" || c.open[key] < c.most.PerClient):
		c.all++
		c.open[key]++
	default:
		c.refused[conn] = true
		conn.Close()
		c.unlogged++
		if time.Since(c.logged) >= time.Minute { // anybody can cause this message
			c.log.Warn("refused connections", "count", c.unlogged, "last_from", address, "open", c.all)
			c.logged, c.unlogged = time.Now(), 0
		}
	}
}

// key identifies a client on the internet; it is "" for others.
func (c *clients) key(address string) string {
	from, err := netip.ParseAddrPort(address)
	ip := from.Addr().Unmap()
	if err != nil || auth.Trusted(c.proxies, ip) || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return ""
	}
	return auth.Network(ip.String())
}
