package simulate

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
)

// userAgents are the ones that Z-API sends in turn: those of browsers.
var userAgents = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
}

// Request returns the request with which Z-API reports an event: a POST of its body with its headers. An empty token omits
// z-api-token. The only error is an invalid url. HTTP/2 forbids some of these headers: use a client for HTTP/1.1, such as
// NewClient's.
func Request(ctx context.Context, url, token string, e presence.Event) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(gateway.AppendZAPI(nil, e)))
	if err != nil {
		return nil, fmt.Errorf("create a request to %s: %w", url, err)
	}
	if (req.URL.Scheme != "http" && req.URL.Scheme != "https") || req.URL.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a receiver: it must begin with http:// or https:// and a host", url)
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("Origin", "https://api.z-api.io")
	h.Set("Server", "Z-API")
	h.Set("User-Agent", userAgents[rand.IntN(len(userAgents))])
	// Z-API's Java client offers an upgrade to HTTP/2, and accepts a response in HTTP/1.1.
	h.Set("Connection", "Upgrade, HTTP2-Settings")
	h.Set("Upgrade", "h2c")
	h.Set("Http2-Settings", "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA")
	if token != "" {
		h.Set("Z-Api-Token", token)
	}
	return req, nil
}

// NewClient returns a client for Play: HTTP/1.1 only, with a keep-alive connection for each worker. It follows no redirects:
// a receiver that responds with one has not stored the event.
func NewClient(workers int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.MaxIdleConns = workers
	transport.MaxIdleConnsPerHost = workers
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
