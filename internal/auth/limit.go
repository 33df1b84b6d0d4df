package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/presencelog/presencelog/internal/problem"
)

// Limits are the maximum rates of requests; 0 means no limit. A client that was idle may send ten seconds' worth at once.
type Limits struct {
	Webhooks float64 // a second, of each webhook token
	API      float64 // a second, of each API token
	Failures float64 // a second, without a valid token, of each address
}

const (
	maxBuckets = 10_000
	burst      = 10 // seconds
)

// limiter counts the requests of clients.
type limiter struct {
	limit rate.Limit

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newLimiter(perSecond float64) *limiter {
	return &limiter{limit: rate.Limit(perSecond), buckets: map[string]*rate.Limiter{}}
}

// take returns a problem if a client sends too many requests.
func (l *limiter) take(client string) error {
	if l.limit == 0 {
		return nil
	}
	l.mu.Lock()
	b := l.buckets[client]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget()
		}
		b = rate.NewLimiter(l.limit, max(1, int(float64(l.limit)*burst)))
		l.buckets[client] = b
	}
	l.mu.Unlock()
	r := b.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	r.Cancel()
	return problem.Later(http.StatusTooManyRequests, "Too many requests; try again later.", delay)
}

// forget removes clients that have been idle for long or, if there are none, all clients, so that memory is limited.
func (l *limiter) forget() {
	for client, b := range l.buckets {
		if b.Tokens() >= float64(b.Burst()) {
			delete(l.buckets, client)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}

// ParseProxies reads a list of addresses and networks in CIDR form.
func ParseProxies(list []string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if addr, err := netip.ParseAddr(s); err == nil {
			proxies = append(proxies, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", s)
		}
		proxies = append(proxies, p.Masked())
	}
	return proxies, nil
}

// Trusted reports whether one of the proxies has the address.
func Trusted(proxies []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Client returns the address of the client. X-Forwarded-For is used only from trusted proxies, and only the part that the last
// of them added, since clients can send the header too.
func (a *Authenticator) Client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !Trusted(a.config.Proxies, addr.Unmap()) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = hop.Unmap().String()
		if !Trusted(a.config.Proxies, hop.Unmap()) {
			break
		}
	}
	return host
}

// RequireFromOutside passes requests from this machine and from private networks to next, and others only with a token of scope
// Read for all instances.
func (a *Authenticator) RequireFromOutside(next http.Handler) http.Handler {
	protected := a.Require(Read, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if FromContext(r.Context()).Instances() != nil {
			problem.Write(w, r, problem.New(http.StatusForbidden, "The token is not for all instances."))
			return
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := netip.ParseAddr(a.Client(r))
		client = client.Unmap()
		// Behind a proxy that is not trusted, the client is unknown.
		proxied := isForwarded(r) && r.RemoteAddr != "" && client.String() == directAddr(r)
		if err == nil && !proxied && (client.IsLoopback() || client.IsPrivate()) {
			next.ServeHTTP(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

func directAddr(r *http.Request) string {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	return addr.Addr().Unmap().String()
}

// Network returns the address of a client or, for IPv6, its network, since each request may come from another address in it.
func Network(client string) string {
	addr, err := netip.ParseAddr(client)
	if err != nil || addr.Unmap().Is4() {
		return client
	}
	p, _ := addr.WithZone("").Prefix(64)
	return p.String()
}

// failed counts a request without a valid token and returns what to respond with.
func (a *Authenticator) failed(r *http.Request, err error) error {
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusUnauthorized {
		if limited := a.failures.take(Network(a.Client(r))); limited != nil {
			return limited
		}
	}
	return err
}
