package app_test

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/rejected"
)

func rejectedPayloads(t *testing.T, s *service) (list []rejected.Entry) {
	t.Helper()
	for q, err := range rejected.List(t.Context(), s.pool) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, q)
	}
	return list
}

func TestRejectedPayloadIsKeptWhole(t *testing.T) {
	t.Parallel()
	s := start(t)
	bad := `{"type":"PresenceChatCallback","phone":"p","status":"LISTENING","lastSeen":null,"instanceId":"i","x":"\u0000"}`
	refused(t, s.post(t, bad), http.StatusUnprocessableEntity)
	list := rejectedPayloads(t, s)
	if len(list) != 1 || list[0].Gateway != "zapi" || !strings.Contains(list[0].Reason, "LISTENING") {
		t.Fatalf("rejected payloads: %+v", list)
	}
	kept, err := rejected.Get(t.Context(), s.pool, list[0].ID)
	if err != nil || string(kept.Body) != bad {
		t.Errorf("kept %q, %v", kept.Body, err)
	}
	if err := rejected.Retry(t.Context(), s.pool, kept.ID); err == nil || err.Error() != kept.Reason {
		t.Errorf("a payload that is still invalid: %v, want %q", err, kept.Reason)
	}
	if err := rejected.Drop(t.Context(), s.pool, kept.ID); err != nil {
		t.Error(err)
	}
	if err := rejected.Drop(t.Context(), s.pool, kept.ID); !errors.Is(err, rejected.ErrNotFound) {
		t.Errorf("dropped twice: %v", err)
	}
}

// What is wrong with a member does not hide the type after it.
func TestMembersOfRejectedPayloadsMayComeInAnyOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	presences := []string{
		`{"phone":"\ud800","type":"PresenceChatCallback","status":"COMPOSING","instanceId":"i"}`,
		`{"phone":"p","phone":"p","type":"PresenceChatCallback","status":"COMPOSING","instanceId":"i"}`,
		"{\"chatName\":\"\xff\",\"type\":\"PresenceChatCallback\",\"phone\":\"p\",\"status\":\"COMPOSING\",\"instanceId\":\"i\"}",
		`{"x":{"a":1,"a":"\ud800"},"type":"PresenceChatCallback","phone":"p","status":"COMPOSING","instanceId":"i"}`,
	}
	for _, body := range presences {
		refusedFor(t, s.post(t, body), http.StatusBadRequest, "body")
	}
	for _, body := range []string{
		`{"instanceId":"i","chatName":"x\ud83d","type":"ReceivedCallback"}`, `{"instanceId":"i","x":1,"x":2,"type":"ReceivedCallback"}`,
	} {
		if a := s.post(t, body); a.StatusCode != http.StatusOK || string(a.body) != `{"ignored":"ReceivedCallback"}`+"\n" {
			t.Errorf("%s: %s %s", body, a.Status, a.body)
		}
	}
	list := rejectedPayloads(t, s)
	if len(list) != len(presences) {
		t.Errorf("rejected payloads: %+v", list)
	}
	for _, entry := range list {
		kept, err := rejected.Get(t.Context(), s.pool, entry.ID)
		if err != nil || !slices.Contains(presences, string(kept.Body)) {
			t.Errorf("kept %q of %+v, %v", kept.Body, entry, err)
		}
	}
}

// A payload that is accepted later would otherwise become an event of an instance that its token may not write to.
func TestRejectedPayloadsOfOtherInstancesAreNotKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.WebhookTokens = []string{"right"} })
	token, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "gateway of i", Scopes: []auth.Scope{auth.Webhook}, Instances: []string{"i"}})
	if err != nil {
		t.Fatal(err)
	}
	hook := func(body, contentType string) response {
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi/"+token, strings.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		return s.do(t, req)
	}
	refused(t, hook(body("j", "p", "COMPOSING"), "text/plain"), http.StatusForbidden)
	refused(t, hook(body("j", "p", "LISTENING"), "application/json"), http.StatusForbidden)
	if list := rejectedPayloads(t, s); len(list) != 0 {
		t.Errorf("rejected payloads: %+v", list)
	}
	refused(t, hook(body("i", "p", "COMPOSING"), "text/plain"), http.StatusUnsupportedMediaType)
	refused(t, hook(`{"type":"PresenceChatCallback","phone":"p"}`, "application/json"), http.StatusUnprocessableEntity)
	if list := rejectedPayloads(t, s); len(list) != 2 {
		t.Errorf("rejected payloads: %+v", list)
	}
}

// A payload whose type cannot be read may be a message: its content is not kept, unless that is asked for.
func TestContentOfUnknownTypeIsNotKept(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		s := start(t, func(c *app.Config) { c.Rejected.KeepBodies = keep })
		for _, body := range []string{
			`{"phone":"p","instanceId":"i","text":{"message":"a secret"}}`, `{"text":{"message":"a secret"},"type":7}`,
			`{"text":{"message":"a secret"`, `a secret`, `["a secret"]`, `{"type":null,"a secret":1,"a secret":2}`,
			`{"text":"\ud83dsecret"}`, `{"text":"\usecret"}`, `{"\ud83dsecret":1}`,
		} {
			if a := s.post(t, body); a.StatusCode/100 != 4 {
				t.Errorf("%s: %s", body, a.Status)
			}
		}
		list := rejectedPayloads(t, s)
		if len(list) != 9 || list[0].Bytes == 0 || list[0].Reason == "" {
			t.Errorf("rejected payloads: %+v", list)
		}
		for _, entry := range list {
			kept, err := rejected.Get(t.Context(), s.pool, entry.ID)
			if err != nil || (kept.Body != nil) != keep || entry.Kept != keep {
				t.Errorf("kept %q of %+v, %v", kept.Body, entry, err)
			}
			if err := rejected.Retry(t.Context(), s.pool, entry.ID); err == nil || !keep && !errors.Is(err, rejected.ErrNotKept) {
				t.Errorf("a retry says %v", err)
			}
		}
		text := pgtest.Get[int](t, s.pool, "SELECT count(*) FROM rejected_payloads AS r WHERE position('secr' IN r::text) > 0")
		if text != 0 && !keep {
			t.Errorf("%d rows hold the text", text)
		}
	}
}

// Too many new instances and contacts get an error that names the limit. Existing ones are not affected.
func TestNewInstancesAndContactsAreLimited(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Limits = ingest.Limits{InstancesPerHour: 2, ContactsPerHour: 5} })
	for _, phone := range []string{"1", "2", "3"} {
		s.postID(t, body("first", phone, "PAUSED"))
	}
	s.postID(t, body("second", "1", "PAUSED"))
	for _, test := range []struct{ instance, phone, limit string }{
		{"third", "1", "2 new instances"}, {"fourth", "1", "2 new instances"}, {"second", "2", ""}, {"second", "3", "5 new contacts"},
	} {
		a := s.post(t, body(test.instance, test.phone, "PAUSED"))
		if test.limit == "" {
			idOf(t, a)
			continue
		}
		p := refused(t, a, http.StatusTooManyRequests)
		seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
		if !strings.Contains(p.Detail, test.limit) || err != nil || seconds < 1 || seconds > 3600 {
			t.Errorf("%s, %s: %s, Retry-After %q", test.instance, test.phone, a.body, a.Header.Get("Retry-After"))
		}
	}
	s.postID(t, body("first", "3", "COMPOSING"))
	s.postID(t, body("second", "2", "COMPOSING"))
	metrics := string(s.do(t, request(t, http.MethodGet, s.url+"/metrics", nil)).body)
	for _, line := range []string{`presencelog_events_over_limit_total{limit="instances"} 2`, `presencelog_events_over_limit_total{limit="contacts"} 1`} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	var instances, contacts int
	err := s.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM contacts)").Scan(&instances, &contacts)
	if err != nil || instances != 2 || contacts != 5 {
		t.Errorf("%d instances and %d contacts, %v", instances, contacts, err)
	}
	// An import is not limited, and what it has brought is known.
	s.load(t, strings.Replace(body("third", "1", "PAUSED"), "}", `,"receivedAt":"2026-10-01T10:00:00Z"}`, 1))
	s.postID(t, body("third", "1", "COMPOSING"))
}

// Messages are not kept, whatever is wrong with the callback that brings one.
func TestMessagesAreNeverKept(t *testing.T) {
	t.Parallel()
	s := start(t)
	message := `{"instanceId":"i","phone":"p","type":"ReceivedCallback","text":{"message":"hi"}`
	for name, send := range map[string]func(*http.Request){
		"as text":  func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"too long": func(*http.Request) {},
	} {
		body := message + "}"
		if name == "too long" {
			body = message + `,"image":"` + strings.Repeat("x", 70<<10) + `"}`
		}
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body))
		send(req)
		if a := s.do(t, req); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), "ReceivedCallback") {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
	}
	if a := s.post(t, message); a.StatusCode != http.StatusOK {
		t.Errorf("cut off: %s %s", a.Status, a.body)
	}
	if list := rejectedPayloads(t, s); len(list) != 0 {
		t.Errorf("rejected payloads: %+v", list)
	}
}

func TestRetryStoresTheEventAtItsTime(t *testing.T) {
	t.Parallel()
	s := start(t)
	received := at("2026-03-01T10:00:00.000007Z")
	w := ingest.NewWriter(ingest.Config{Pool: s.pool, Timeout: 10e9, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(w.Close)
	id := uuid.New()
	err := w.Reject(t.Context(), ingest.Rejected{
		ID: id, ReceivedAt: received, Gateway: "zapi", Reason: "of an older version", Body: []byte(body("i", "p", "PAUSED")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := rejected.Retry(t.Context(), s.pool, id); err != nil {
		t.Fatal(err)
	}
	var events struct {
		Events []struct {
			ID, ReceivedAt, Status string
			LastSeen, Extra        any
		}
		NextCursor any
	}
	s.get(t, contactPath("i", "p")+"/events?from=2026-03-01T00:00:00Z", &events)
	if len(events.Events) != 1 || events.Events[0].ReceivedAt != "2026-03-01T10:00:00.000007Z" || events.Events[0].Status != "PAUSED" {
		t.Errorf("events: %+v", events)
	}
	if list := rejectedPayloads(t, s); len(list) != 0 {
		t.Errorf("still rejected: %+v", list)
	}
}
