package simulate

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
)

func example() presence.Event {
	return presence.Event{
		InstanceID: "instance.id", Phone: "5544999999999", Status: presence.Composing,
		ReceivedAt: time.Date(2026, 11, 22, 7, 0, 0, 123456000, time.FixedZone("", -3*3600)),
	}
}

// receiver is a server that keeps what it gets.
type receiver struct {
	*httptest.Server
	connections atomic.Int64
	mu          sync.Mutex
	requests    []*http.Request
	bodies      []string
}

func newReceiver(t *testing.T, https bool, respond func(w http.ResponseWriter, body string)) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests, r.bodies = append(r.requests, req), append(r.bodies, string(body))
		r.mu.Unlock()
		respond(w, string(body))
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.connections.Add(1)
		}
	}
	if r.EnableHTTP2 = https; https {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	return r
}

func ok(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, `{"id":"1"}`) }

func TestRequestEqualsZAPI(t *testing.T) {
	t.Parallel()
	for _, https := range []bool{false, true} {
		t.Run(fmt.Sprintf("https=%v", https), func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, https, ok)
			client := NewClient(1)
			if https { // the certificate is the test server's own
				client.Transport.(*http.Transport).TLSClientConfig = r.Client().Transport.(*http.Transport).TLSClientConfig
			}
			agents := make(map[string]bool)
			for range 50 {
				req, err := Request(t.Context(), r.URL+"/webhooks/zapi?token=a", "0123456789abcdef01234567", example())
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			want := map[string]string{
				"Content-Type": "application/json", "Origin": "https://api.z-api.io", "Server": "Z-API", "Z-Api-Token": "0123456789abcdef01234567",
				"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c",
				"Http2-Settings": "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA", "Content-Length": "119",
			}
			for i, req := range r.requests {
				for name, value := range want {
					if got := req.Header.Values(name); !slices.Equal(got, []string{value}) {
						t.Fatalf("request %d has %s %q, want %q", i, name, got, value)
					}
				}
				if req.Method != "POST" || req.Proto != "HTTP/1.1" || req.RequestURI != "/webhooks/zapi?token=a" {
					t.Fatalf("request %d is %s %s %s", i, req.Method, req.RequestURI, req.Proto)
				}
				if r.bodies[i] != string(gateway.AppendZAPI(nil, example())) {
					t.Fatalf("request %d has the body %s", i, r.bodies[i])
				}
				if ua := req.UserAgent(); !strings.HasPrefix(ua, "Mozilla/5.0 ") {
					t.Fatalf("request %d has the user agent %q", i, ua)
				}
				agents[req.UserAgent()] = true
			}
			if len(agents) < 2 {
				t.Errorf("the user agents do not rotate: %v", agents)
			}
			// A client that stands still for 50 ms after it has sent a request does not use its connection again.
			if n := r.connections.Load(); n > 10 {
				t.Errorf("%d connections for 50 requests in turn, want 1 or a few", n)
			}
		})
	}
}

func TestRequestWithoutToken(t *testing.T) {
	t.Parallel()
	req, err := Request(t.Context(), "http://localhost", "", example())
	if err != nil {
		t.Fatal(err)
	}
	if _, there := req.Header["Z-Api-Token"]; there {
		t.Error("an empty token is sent")
	}
}

func TestRequestRejectsBadURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost:8080", "ftp://localhost/", "http://", "http://a b/", "/webhooks/zapi"} {
		if _, err := Request(t.Context(), url, "", example()); err == nil {
			t.Errorf("no error for %q", url)
		}
	}
}
