package auth

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/presencelog/presencelog/internal/problem"
)

// If no token is needed, only this machine can reach the service. But so can every web page in a browser on this machine: by a
// form or script (CSRF), or under a host name that resolves to 127.0.0.1 (DNS rebinding). Browsers send headers with the origin
// of a request; programs do not.

// zapiOrigin is the Origin of Z-API's requests, also through a tunnel.
const zapiOrigin = "https://api.z-api.io"

// checkSameSite rejects requests of other sites' pages, and requests through a proxy on this machine, whose Host may be a
// loopback address, as nginx sends it.
func checkSameSite(r *http.Request) error {
	if !IsLoopback(r.Host) || isForwarded(r) {
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

// checkSender rejects callbacks from web pages. The media type must be JSON, which browsers send to other sites only after a
// preflight request.
func checkSender(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" && origin != zapiOrigin && !(IsLoopback(r.Host) && isOwn(origin, r.Host)) {
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

// isForwarded reports whether the request came through a proxy. An empty header counts too: the proxy's own may be a second
// one.
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

// IsLoopback reports whether a host, with or without a port, is a loopback address or localhost.
func IsLoopback(host string) bool {
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
