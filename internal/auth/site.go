package auth

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/presencelog/presencelog/internal/problem"
)

// Where no token is needed, only this machine can reach the service. But so can every web page that a browser on this
// machine shows: by a form or script of its own (CSRF), or under a host name of its own that resolves to 127.0.0.1 (DNS
// rebinding). Browsers tell where a request comes from; programs do not send these headers.

// zapiOrigin is what Z-API's requests carry, also through a tunnel with a host name of its own.
const zapiOrigin = "https://api.z-api.io"

// checkSameSite refuses a request that another site's page made a browser send, or a proxy on this machine, which may name this
// machine as the host: that of nginx does.
func checkSameSite(r *http.Request) error {
	if !isLoopback(r.Host) || isForwarded(r) {
		return problem.New(http.StatusForbidden, "Without a token, the API is for this machine only: use http://127.0.0.1, or create a token.")
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return foreign()
	}
	if origin := r.Header.Get("Origin"); origin != "" && !isOwn(origin, r.Host) {
		return foreign()
	}
	return nil
}

// checkSender refuses a callback that a web page made a browser send. Its media type has to be JSON, for which a browser
// asks first whether it may.
func checkSender(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" && origin != zapiOrigin && !(isLoopback(r.Host) && isOwn(origin, r.Host)) {
		return foreign()
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return foreign()
	}
	return nil
}

func foreign() error {
	return problem.New(http.StatusForbidden, "The request comes from a page of another site. Create a token to allow that.")
}

// isForwarded says whether a proxy passed the request on. An empty header says so too: the proxy's own may be the second one.
func isForwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}

func isOwn(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

// isLoopback says whether a host, with or without a port, is this machine by an address or a name that no other can have.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
