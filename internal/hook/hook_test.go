package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// receiver is a service that accepts messages, and counts how often each came.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	status   int // of the response
	secret   string
	accepted []string // "type phone"
	ids      map[string]int
	attempts int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusNoContent, ids: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.attempts++
		r.verify(t, req.Header, body)
		var m Message
		if err := json.Unmarshal(body, &m); err != nil || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", body, err)
		}
		if r.status/100 == 2 {
			id := req.Header.Get("webhook-id")
			if r.ids[id]++; r.ids[id] == 1 { // it may be sent again if its sender was stopped before the response
				r.accepted = append(r.accepted, m.Type+" "+m.Data.Phone)
			}
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// verify does what Standard Webhooks tells receivers to do.
func (r *receiver) verify(t *testing.T, h http.Header, body []byte) {
	t.Helper()
	seconds, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		t.Errorf("webhook-timestamp %q", h.Get("webhook-timestamp"))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.secret, "whsec_"))
	if err != nil || len(key) != 32 {
		t.Errorf("the secret %q: %v", r.secret, err)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, h.Get("webhook-id")+"."+h.Get("webhook-timestamp")+"."+string(body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Get("webhook-id") == "" || h.Get("webhook-signature") != want {
		t.Errorf("webhook-signature %q, want %q", h.Get("webhook-signature"), want)
	}
}

func (r *receiver) respond(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// waitFor waits until the messages have been accepted, in any order.
func (r *receiver) waitFor(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	defer func() {
		if t.Failed() {
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Logf("accepted are %q", r.accepted)
		}
	}()
	pgtest.Eventually(t, fmt.Sprintf("accepted are %q", want), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Equal(slices.Sorted(slices.Values(r.accepted)), want)
	})
}

// onceEach checks that no message came twice.
func (r *receiver) onceEach(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.ids {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

// add adds a hook for a receiver.
func (r *receiver) add(t *testing.T, pool *pgxpool.Pool, kinds []Kind, instances ...string) int32 {
	t.Helper()
	id, secret, err := Add(t.Context(), pool, Hook{URL: r.URL + "/x?y", On: kinds, Instances: instances, Private: true})
	if err != nil {
		t.Fatal(err)
	}
	r.secret = secret
	return id
}

// process is what of a service a Sender needs.
type process struct {
	pool  *pgxpool.Pool
	hub   *live.Hub
	store *ingest.Store
	stop  func()
	seq   int16
}

func startProcess(t *testing.T, pool *pgxpool.Pool) *process {
	t.Helper()
	for _, timeout := range []string{"typing_timeout", "recording_timeout"} { // so that a slow machine sees no change by a timeout
		if err := settings.Set(t.Context(), pool, "", timeout, "1h"); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	hub := live.New(pool, log, presence.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { NewSender(pool, hub, log).Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); ended.Wait(); hub.Close() })
	t.Cleanup(stop)
	return &process{pool: pool, hub: hub, store: ingest.NewStore(pool), stop: stop}
}

func (p *process) event(t *testing.T, instance, phone string, status presence.Status) {
	t.Helper()
	p.seq++
	events := []presence.Event{{InstanceID: instance, Phone: phone, Status: status, ReceivedAt: presence.Now(), Seq: p.seq}}
	if err := p.store.Write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	p.hub.Durable(events)
}

func TestHooksGetMessages(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	all, some := newReceiver(t), newReceiver(t)
	all.add(t, pool, Kinds())
	some.add(t, pool, []Kind{Idle, Recording}, "i")
	p := startProcess(t, pool)
	for _, e := range []struct {
		instance, phone string
		status          presence.Status
	}{
		{"i", "a", presence.Available}, {"i", "a", presence.Composing}, {"i", "a", presence.Composing}, {"i", "a", presence.Paused},
		{"j", "b", presence.Composing}, {"j", "b", presence.Unavailable}, {"i", "c", presence.Recording}, {"i", "c", presence.Available},
	} {
		p.event(t, e.instance, e.phone, e.status)
	}
	all.waitFor(t, "contact.available a", "contact.typing a", "contact.idle a", "contact.typing b", "contact.unavailable b", "contact.idle b",
		"contact.recording c", "contact.available c", "contact.idle c")
	some.waitFor(t, "contact.idle a", "contact.recording c", "contact.idle c")
	all.onceEach(t)
}

// The next process sends changes that happened while none was sending. Messages that were not accepted are sent again.
func TestDeliveryAfterRestart(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	r := newReceiver(t)
	id := r.add(t, pool, []Kind{Typing, Idle})
	p := startProcess(t, pool)
	hookIs := func(what string, holds func(Hook) bool) {
		t.Helper()
		pgtest.Eventually(t, what, func() bool {
			list, err := List(t.Context(), pool)
			if err != nil || len(list) != 1 || list[0].ID != id {
				t.Fatalf("%+v %v", list, err)
			}
			return holds(list[0])
		})
	}
	p.event(t, "i", "a", presence.Composing)
	r.waitFor(t, "contact.typing a")
	hookIs("nothing is pending", func(h Hook) bool { return h.Pending == 0 })
	p.stop()
	p.event(t, "i", "a", presence.Paused)
	p.event(t, "i", "b", presence.Composing)
	r.respond(http.StatusInternalServerError)
	startProcess(t, pool)
	hookIs("both were refused", func(h Hook) bool {
		return h.FailingSince != nil && h.Pending == 2 && h.LastError != nil && strings.Contains(*h.LastError, "500")
	})
	r.respond(http.StatusOK)
	r.waitFor(t, "contact.typing a", "contact.idle a", "contact.typing b") // after the first retry
	hookIs("it works again", func(h Hook) bool { return h.FailingSince == nil && h.Pending == 0 })
}

// Of two processes, one sends.
func TestHookLease(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	r := newReceiver(t)
	r.add(t, pool, []Kind{Typing})
	first, second := startProcess(t, pool), startProcess(t, pool)
	first.event(t, "i", "a", presence.Composing)
	second.event(t, "i", "b", presence.Composing)
	r.waitFor(t, "contact.typing a", "contact.typing b")
	r.onceEach(t)
	// When one process has stopped, the other one continues.
	first.stop()
	second.event(t, "i", "c", presence.Composing)
	r.waitFor(t, "contact.typing a", "contact.typing b", "contact.typing c")
}

func TestDeadHooksAreDisabled(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	gone, failing := newReceiver(t), newReceiver(t)
	gone.add(t, pool, []Kind{Typing})
	failing.add(t, pool, []Kind{Typing})
	gone.respond(http.StatusGone)
	failing.respond(http.StatusFound) // is not followed
	pgtest.Exec(t, pool, "UPDATE hooks SET failing_since = now() - interval '25 h' WHERE url LIKE $1 || '%'", failing.URL)
	p := startProcess(t, pool)
	p.event(t, "i", "a", presence.Composing)
	pgtest.Eventually(t, "both are disabled", func() bool {
		list, err := List(t.Context(), pool)
		if err != nil || len(list) != 2 {
			t.Fatal(err)
		}
		return list[0].DisabledAt != nil && list[1].DisabledAt != nil
	})
}

func TestAddressesThatAreNotPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "::1": false, "fe80::1%eth0": false, "fd00::1": false,
		"::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "224.0.0.1": false, "255.255.255.255": false, "2002:7f00:1::": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %t", address, got)
		}
	}
	r := newReceiver(t)
	// Also if a name leads there.
	for _, address := range []string{r.URL, strings.Replace(r.URL, "127.0.0.1", "localhost", 1)} {
		h := Hook{URL: address, secret: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		err := post(t.Context(), newClient(false), &h, "id", "{}", time.Now())
		if err == nil || !strings.Contains(err.Error(), "not public") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if r.tried() > 0 {
		t.Error("it was connected to")
	}
	for address, want := range map[string]string{
		"http://example.org/": "use https", "ftp://example.org/": "not a URL", "example.org": "not a URL", "https:///x": "not a URL",
		"": "not a URL", "https://user@example.org/": "no user and no fragment", "https://example.org/#x": "no user and no fragment",
	} {
		if err := checkURL(address, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}

// An erasure looks in messages for a phone as the database writes it.
func TestMessagesHaveStringsAsTheDatabaseWritesThem(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, phone := range []string{"5544999999999", "<a&b>", "\u2028", `"\`, "\t\x01\x7f", "é😀"} {
		c := &live.Message{State: live.State{InstanceID: "i", Phone: phone, Status: presence.Composing, Since: presence.Now(), LastEventAt: presence.Now()}}
		body := bodyOf(c, Typing)
		var m Message
		if err := json.Unmarshal([]byte(body), &m); err != nil || m.Data != c.State || !m.Timestamp.Equal(c.Since) {
			t.Errorf("%s: %+v %v", body, m, err)
		}
		if found := pgtest.Get[bool](t, pool, "SELECT strpos($1, to_json($2::text)::text) > 0", body, phone); !found {
			t.Errorf("%q is not found in %s", phone, body)
		}
	}
}
