package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

// feedState is the data of an event of the feed.
type feedState struct {
	InstanceID, Phone  string
	Status             presence.Status
	Since, LastEventAt time.Time
}

// feedEvent is an event of the feed, or an id alone.
type feedEvent struct {
	ID, Event string
	Data      feedState
}

// feedReader reads /v1/live.
type feedReader struct {
	t     *testing.T
	close func()
	next  chan feedEvent // closed when the stream ends
	id    string         // the last one seen
}

// listen opens the feed and returns once it is there.
func (s *service) listen(t *testing.T, query, lastID string, header ...string) *feedReader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req := request(t, http.MethodGet, s.url+"/v1/live"+query, nil).WithContext(ctx)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || ct != "text/event-stream" || res.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	f := &feedReader{t: t, close: cancel, next: make(chan feedEvent, 10_000)}
	t.Cleanup(cancel)
	go func() {
		defer close(f.next)
		defer res.Body.Close()
		var e feedEvent
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.ID = value
			case "event":
				e.Event = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.Data); err != nil {
					t.Errorf("data %q: %v", value, err)
				}
			case "":
				f.next <- e
				e = feedEvent{}
			}
		}
	}()
	return f
}

// read returns the next event that is not an id alone.
func (f *feedReader) read() feedEvent {
	f.t.Helper()
	for {
		select {
		case e, open := <-f.next:
			if !open {
				f.t.Fatal("the feed has ended")
			}
			if e.ID != "" {
				f.id = e.ID
			}
			if e.Event != "" {
				return e
			}
		case <-time.After(pgtest.Timeout):
			f.t.Fatal("nothing comes")
		}
	}
}

// expect reads the next events and compares them with "phone STATUS".
func (f *feedReader) expect(want ...string) (last feedEvent) {
	f.t.Helper()
	for _, w := range want {
		last = f.read()
		if got := last.Data.Phone + " " + last.Data.Status.String(); last.Event != "state" || got != w || last.ID == "" {
			f.t.Fatalf("got %s %q, want %q", last.Event, got, w)
		}
	}
	return last
}

func TestLiveSendsChanges(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "present", "AVAILABLE"))
	f := s.listen(t, "", "")
	s.postID(t, body("i", "present", "AVAILABLE")) // a renewal is no change
	s.postID(t, body("i", "a", "COMPOSING"))
	e := f.expect("a COMPOSING")
	var c contacts
	s.get(t, "/v1/instances/i/contacts?search=a&status=COMPOSING", &c)
	if got := e.Data; got.InstanceID != "i" || len(c.Contacts) != 1 || !got.Since.Equal(c.Contacts[0].Since) || !got.LastEventAt.Equal(c.Contacts[0].LastEventAt) {
		t.Errorf("the feed says %+v, the list %+v", got, c)
	}
	s.postID(t, body("i", "a", "PAUSED"))
	s.postID(t, body("i", "present", "UNAVAILABLE"))
	s.postID(t, body("i", "absent", "UNAVAILABLE"))
	f.expect("a PAUSED", "present UNAVAILABLE", "absent UNAVAILABLE")
	s.postID(t, body("i", "absent", "UNAVAILABLE"))
	s.postID(t, body("i", "a", "RECORDING"))
	f.expect("a RECORDING")
}

// The clock moves on after the feed has sent earlier changes: a change that has timed out already is not sent.
func TestLiveSendsTimeouts(t *testing.T) {
	t.Parallel()
	began := presence.Now()
	var elapsed atomic.Int64
	s := start(t, func(c *app.Config) { c.Now = func() time.Time { return began.Add(time.Duration(elapsed.Load())) } })
	for _, name := range []string{"typing_timeout", "presence_timeout"} {
		if err := settings.Set(t.Context(), s.pool, "", name, "1s"); err != nil {
			t.Fatal(err)
		}
	}
	f := s.listen(t, "", "")
	s.postID(t, body("i", "a", "COMPOSING"))
	typing := f.expect("a COMPOSING")
	elapsed.Store(int64(time.Second))
	paused := f.expect("a PAUSED")
	elapsed.Store(int64(2 * time.Second))
	left := f.expect("a UNAVAILABLE")
	if d, e := paused.Data.Since.Sub(typing.Data.Since), left.Data.Since.Sub(paused.Data.Since); d != time.Second || e != time.Second {
		t.Errorf("typing lasted %s, the pause %s", d, e)
	}
}

func TestLiveFilters(t *testing.T) {
	t.Parallel()
	s := start(t)
	byInstance := s.listen(t, "?instance=i,k", "")
	byPhone := s.listen(t, "?phone=a&phone=b", "")
	byStatus := s.listen(t, "?status=PAUSED,RECORDING&instance=i", "")
	for _, e := range [][3]string{
		{"i", "a", "COMPOSING"}, {"j", "b", "COMPOSING"}, {"i", "c", "RECORDING"}, {"k", "a", "PAUSED"}, {"i", "a", "PAUSED"}, {"j", "c", "PAUSED"},
	} {
		s.postID(t, body(e[0], e[1], e[2]))
	}
	byInstance.expect("a COMPOSING", "c RECORDING", "a PAUSED", "a PAUSED")
	byPhone.expect("a COMPOSING", "b COMPOSING", "a PAUSED", "a PAUSED")
	byStatus.expect("c RECORDING", "a PAUSED")
	for query, location := range map[string]string{
		"?status=TYPING": "query.status", "?instance=a,": "query.instance", "?phone=%00": "query.phone",
		"?phone=" + strings.Repeat("1,", 100) + "2&phone=" + strings.Repeat("x", 129): "query.phone",
	} {
		a := s.do(t, request(t, http.MethodGet, s.url+"/v1/live"+query, nil))
		if p := refused(t, a, http.StatusUnprocessableEntity); !strings.HasPrefix(p.Errors[0].Location, location) {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}

func TestLiveResumes(t *testing.T) {
	t.Parallel()
	s := start(t)
	f, other := s.listen(t, "", ""), s.listen(t, "", "")
	s.postID(t, body("i", "a", "COMPOSING"))
	f.expect("a COMPOSING")
	f.close()
	for _, status := range []string{"PAUSED", "RECORDING"} {
		s.postID(t, body("i", "a", status))
		s.postID(t, body("i", "b", status))
	}
	other.expect("a COMPOSING", "a PAUSED", "b PAUSED", "a RECORDING", "b RECORDING") // so the feed knows all of it
	// The state, not what was missed.
	g := s.listen(t, "", f.id)
	g.expect("a RECORDING", "b RECORDING")
	s.listen(t, "?phone=b", f.id).expect("b RECORDING")
	s.postID(t, body("i", "a", "PAUSED"))
	s.listen(t, "", g.id).expect("a PAUSED")
	for _, id := range []string{"unknown", "x-1", f.id + "000"} {
		h := s.listen(t, "", id)
		if e := h.read(); e.Event != "resync" || e.ID == "" {
			t.Errorf("resuming from %q begins with %+v", id, e)
		}
		s.listen(t, "", h.id) // and it continues from there
	}
}

func TestLiveSendsEventsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	s := start(t)
	other := startOn(t, s)
	f := s.listen(t, "", "")
	s.postID(t, body("i", "a", "COMPOSING"))
	f.expect("a COMPOSING")
	other.postID(t, body("i", "b", "COMPOSING"))
	f.expect("b COMPOSING")
	other.postID(t, body("i", "a", "COMPOSING"))
	other.postID(t, body("i", "a", "PAUSED"))
	e := f.expect("a PAUSED")
	var c presence.Contact
	s.get(t, "/v1/instances/i/contacts/a", &c)
	if !e.Data.Since.Equal(c.Since) {
		t.Errorf("since %s, want %s", e.Data.Since, c.Since)
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	t.Parallel()
	s := start(t)
	f := s.listen(t, "", "")
	s.postID(t, body("i", "a", "COMPOSING"))
	f.expect("a COMPOSING")
	waited := make(chan int, 1)
	go func() {
		res, err := http.Get(s.url + contactPath("i", "a") + "/wait?timeout=4m")
		if err != nil {
			t.Error(err)
			waited <- 0
			return
		}
		res.Body.Close()
		waited <- res.StatusCode
	}()
	pgtest.Eventually(t, "the request waits", func() bool { return s.liveClients(t) == 2 })
	s.postID(t, body("i", "a", "PAUSED"))
	s.Stop()
	for range f.next {
	}
	if status := <-waited; status != http.StatusOK && status != http.StatusServiceUnavailable {
		t.Errorf("the wait ended with %d", status)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Streams = 2 })
	first := s.listen(t, "", "")
	s.listen(t, "", "")
	a := s.do(t, request(t, http.MethodGet, s.url+"/v1/live", nil))
	if refused(t, a, http.StatusTooManyRequests); a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	first.close()
	pgtest.Eventually(t, "there is room again", func() bool {
		req := request(t, http.MethodGet, s.url+"/v1/live", nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := s.client.Do(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode == http.StatusOK
	})
}

func TestStreamsAreLimitedForEachClientOfAProxy(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) {
		c.Streams, c.APITokens, c.Proxies = 1, []string{"secret"}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		s.listen(t, "", "", "Authorization", "Bearer secret", "X-Forwarded-For", client)
	}
}

func TestLiveAsNDJSON(t *testing.T) {
	t.Parallel()
	s := start(t)
	req := request(t, http.MethodGet, s.url+"/v1/live", nil)
	req.Header.Set("Accept", "application/x-ndjson")
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	var e feedEvent
	if err := lines.Decode(&e); err != nil || e.Event != "heartbeat" || res.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%+v %v", e, err)
	}
	s.postID(t, body("i", "a", "RECORDING"))
	if err := lines.Decode(&e); err != nil || e.Event != "state" || e.ID == "" || e.Data.Status != presence.Recording || e.Data.Phone != "a" {
		t.Fatalf("%+v %v", e, err)
	}
}

// A token sees its instances only, needs the scope live, and closes its streams when it is revoked.
func TestLiveNeedsAToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	tokens := map[string]string{}
	for _, token := range []auth.Token{
		{Name: "bot", Scopes: []auth.Scope{auth.Live}, Instances: []string{"i"}},
		{Name: "reader", Scopes: []auth.Scope{auth.Read}},
	} {
		secret, err := auth.Create(t.Context(), s.pool, token)
		if err != nil {
			t.Fatal(err)
		}
		tokens[token.Name] = "Bearer " + secret
	}
	for _, phone := range []string{"a", "b"} {
		s.postID(t, body("i", phone, "AVAILABLE"))
		s.postID(t, body("j", phone, "AVAILABLE"))
	}
	for _, path := range []string{"/v1/live", contactPath("i", "a") + "/wait"} {
		// First with a token, from which the service learns that there are some.
		req := request(t, http.MethodGet, s.url+path, nil)
		req.Header.Set("Authorization", tokens["reader"])
		refused(t, s.do(t, req), http.StatusForbidden)
		refused(t, s.do(t, request(t, http.MethodGet, s.url+path, nil)), http.StatusUnauthorized)
	}
	req := request(t, http.MethodGet, s.url+contactPath("j", "a")+"/wait", nil)
	req.Header.Set("Authorization", tokens["bot"])
	refused(t, s.do(t, req), http.StatusNotFound)

	all := s.listen(t, "", "", "Authorization", tokens["bot"])
	other := s.listen(t, "?instance=j", "", "Authorization", tokens["bot"])
	phone := s.listen(t, "?phone=a", "", "Authorization", tokens["bot"])
	for _, instance := range []string{"j", "i"} {
		for _, phone := range []string{"a", "b"} {
			s.postID(t, body(instance, phone, "COMPOSING"))
		}
	}
	for _, want := range []string{"a", "b"} {
		if e := all.expect(want + " COMPOSING"); e.Data.InstanceID != "i" {
			t.Errorf("the feed tells of %+v", e)
		}
	}
	if e := phone.expect("a COMPOSING"); e.Data.InstanceID != "i" {
		t.Errorf("the feed tells of %+v", e)
	}
	if err := auth.Revoke(t.Context(), s.pool, "bot"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*feedReader{all, other, phone} {
		for e := range f.next {
			if e.Event != "" {
				t.Errorf("the feed tells of %+v", e)
			}
		}
	}
}

// Clients that resume do not get an erased contact either.
func TestFeedForgetsErasedContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	f := s.listen(t, "", "")
	s.postID(t, body("i", "first", "AVAILABLE"))
	f.expect("first AVAILABLE")
	from := f.id
	s.postID(t, body("i", "a", "COMPOSING"))
	s.postID(t, body("i", "b", "COMPOSING"))
	f.expect("a COMPOSING", "b COMPOSING")
	if _, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", Phone: "a"}); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the feed has forgotten the contact", func() bool {
		time.Sleep(100 * time.Millisecond)
		g := s.listen(t, "", from)
		defer g.close()
		return g.read().Data.Phone == "b"
	})
}
