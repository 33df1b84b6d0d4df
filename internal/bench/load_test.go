package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func bodies(t *testing.T, contacts int) [][]byte {
	t.Helper()
	list, err := Bodies(contacts)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBodies(t *testing.T) {
	t.Parallel()
	list := bodies(t, 1000)
	contacts, statuses := map[string]bool{}, map[string]bool{}
	for _, body := range list {
		e, err := gateway.DecodeZAPI(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		contacts[e.InstanceID+e.Phone], statuses[e.Status.String()] = true, true
	}
	if len(list) != 2000 || len(contacts) < 200 || len(statuses) != 5 {
		t.Errorf("%d bodies of %d contacts with %d statuses", len(list), len(contacts), len(statuses))
	}
}

// TestClosedLoop sends to a server that keeps what it gets: every request is whole, bodies come in turn, and the figures
// are right.
func TestClosedLoop(t *testing.T) {
	t.Parallel()
	list := bodies(t, 50)
	var mu sync.Mutex
	got := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.Path != "/webhooks/zapi" || r.ContentLength != int64(len(body)) ||
			r.Header.Get("Z-Api-Token") != "sesame" || r.Header.Get("Upgrade") != "h2c" || r.Header.Get("Server") != "Z-API" {
			http.Error(w, "not what Z-API sends", 400)
			return
		}
		mu.Lock()
		got[string(body)]++
		mu.Unlock()
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	result, err := Load{
		URL: server.URL + "/webhooks/zapi", Token: "sesame", Connections: 5, Duration: time.Minute,
		Requests: int64(3 * len(list)), Bodies: list,
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(3 * len(list)); result.Requests != n || result.Acknowledged != n || result.Failed() != 0 {
		t.Errorf("%+v, want %d requests, all acknowledged", result, n)
	}
	if rate := float64(result.Acknowledged) / result.Seconds; result.PerSecond != rate || result.Latency.P50 <= 0 ||
		result.Latency.P50 > result.Latency.P99 || result.Latency.P99 > result.Latency.Max {
		t.Errorf("%+v, want %g a second", result, rate)
	}
	for _, body := range list {
		if got[string(body)]%3 != 0 || got[string(body)] == 0 {
			t.Errorf("%s came %d times", body, got[string(body)])
		}
	}
}

func TestLoadEndsWithItsDuration(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(10 * time.Millisecond)
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	load := Load{URL: server.URL, Connections: 4, Duration: 300 * time.Millisecond, Bodies: bodies(t, 10)}
	result, err := load.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Four connections, each at most a request in 10 ms: true however slow this machine is.
	most := 4 * int64(result.Seconds/0.01+1)
	if result.Seconds < 0.3 || result.Acknowledged > most || result.Acknowledged == 0 || result.Latency.P50 < 10 {
		t.Errorf("%+v", result)
	}
}

// TestErrorsAreCounted has a server that responds to ten requests in ten ways, the last by closing the connection.
func TestErrorsAreCounted(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 10 {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		case 2:
			http.Error(w, "who are you", http.StatusUnauthorized)
		case 3:
			fmt.Fprint(w, `{"ignored":"ReceivedCallback"}`)
		case 4:
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, `{"id":"last of this connection"}`)
		case 5:
			w.WriteHeader(204)
		case 6:
			fmt.Fprintf(w, `{"id":"long","padding":%q}`, strings.Repeat("x", 20<<10))
		default:
			fmt.Fprint(w, `{"id":"1"}`)
		}
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	result, err := Load{
		URL: server.URL, Connections: 3, Duration: time.Minute, Requests: 500, Bodies: bodies(t, 10),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"broken connection": 50, "503": 50, "401": 50, "200 without id": 50, "204": 50}
	// The long response has no Content-Length, which no receiver sends.
	want["200 without id"] += 50
	if result.Requests != 500 || result.Acknowledged != 200 || !maps.Equal(result.Errors, want) {
		t.Errorf("%+v, want errors %v", result, want)
	}
	var text strings.Builder
	if WriteResults(&text, []Result{result}); !strings.Contains(text.String(), "503: 50") {
		t.Errorf("the table is\n%s", &text)
	}
	if b, err := json.Marshal(result); err != nil || !strings.Contains(string(b), `"503":50`) {
		t.Errorf("%v: %s", err, b)
	}
}

// quietAddress returns an address that nobody listens on, with a port outside of the range that the system chooses ports from: those
// may be taken at any time.
func quietAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("there is no free port")
	return ""
}

func TestLoadWithoutServer(t *testing.T) {
	t.Parallel()
	address := quietAddress(t)
	_, err := Load{URL: "http://" + address, Connections: 1, Duration: time.Second, Bodies: bodies(t, 10)}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v, want one that names %s", err, address)
	}
}

// TestLoadWhenServerStops closes the server half way: later errors are counted, and the load still ends.
func TestLoadWhenServerStops(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	var requests atomic.Int64
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) >= 50 {
			server.Listener.Close()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	result, err := Load{URL: server.URL, Connections: 3, Duration: time.Minute, Requests: 200, Bodies: bodies(t, 10)}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Acknowledged > 49 || result.Acknowledged == 0 || result.Errors["no connection"] == 0 || result.Requests != 200 {
		t.Errorf("%+v", result)
	}
	var errors int64
	for _, n := range result.Errors {
		errors += n
	}
	if errors != result.Failed() {
		t.Errorf("errors %v, of %d requests %d were acknowledged", result.Errors, result.Requests, result.Acknowledged)
	}
}

// TestOpenLoopKeepsItsRate has a server that stands still for a while. The rate is kept over all, and the requests that
// were due meanwhile count as slow, each by what it had to wait: with one connection, a client that measures from the
// moment of sending would find a single slow one.
func TestOpenLoopKeepsItsRate(t *testing.T) {
	t.Parallel()
	const rate, still = 400.0, 300 * time.Millisecond
	var once sync.Once
	begin := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(begin) > 200*time.Millisecond {
			once.Do(func() { time.Sleep(still) })
		}
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	result, err := Load{URL: server.URL, Connections: 1, Duration: time.Second, Rate: rate, Bodies: bodies(t, 10)}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Requests+result.Unsent != rate || result.Acknowledged != result.Requests {
		t.Errorf("%+v, want %g requests", result, rate)
	}
	// A third of the requests were due in those 300 ms, evenly spread: the slowest hundredth waited almost as long.
	if result.Latency.P99 < 200 || result.Latency.Max < 290 {
		t.Errorf("latency %+v hides that the server stood still for %s", result.Latency, still)
	}
}

// TestOpenLoopBeyondCapacity offers more than there are connections for.
func TestOpenLoopBeyondCapacity(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond)
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	result, err := Load{URL: server.URL, Connections: 2, Duration: 400 * time.Millisecond, Rate: 1000, Bodies: bodies(t, 10)}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if most := 2 * int64(result.Seconds/0.02+1); result.Requests > most || result.Requests+result.Unsent != 400 || result.Latency.P50 < 100 {
		t.Errorf("%+v, want 400 requests, most of them late or unsent", result)
	}
}

// TestBaselines checks that the servers to compare with do their part of the work.
func TestBaselines(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	for _, kind := range []Kind{DecodeOnly, Naive} {
		address := quietAddress(t)
		go func() {
			if err := ServeBaseline(t.Context(), kind, address, database, "sesame"); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}()
		post := func(token, body string) int {
			for deadline := time.Now().Add(pgtest.Timeout); ; time.Sleep(5 * time.Millisecond) {
				req, _ := http.NewRequest("POST", "http://"+address, strings.NewReader(body))
				req.Header.Set("Z-Api-Token", token)
				resp, err := http.DefaultClient.Do(req)
				if err == nil {
					resp.Body.Close()
					return resp.StatusCode
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		}
		for _, test := range []struct {
			token, body string
			want        int
		}{
			{"sesame", string(bodies(t, 10)[0]), 200},
			{"simsim", string(bodies(t, 10)[0]), 401},
			{"sesame", `{"type":"PresenceChatCallback"}`, 422},
			{"sesame", strings.Repeat(" ", 100_000), 400},
		} {
			if got := post(test.token, test.body); got != test.want {
				t.Errorf("%s responds with %d to %.40q with token %q, want %d", kind, got, test.body, test.token, test.want)
			}
		}
	}
	if err := ServeBaseline(t.Context(), Service, "127.0.0.1:0", database, ""); err == nil {
		t.Error("the service passes for a baseline")
	}
}
