package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/quarantine"
)

func quarantined(t *testing.T, s *service) (list []quarantine.Entry) {
	t.Helper()
	for q, err := range quarantine.List(t.Context(), s.pool) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, q)
	}
	return list
}

func TestWhatIsNotUnderstoodIsKeptWhole(t *testing.T) {
	t.Parallel()
	s := start(t)
	bad := `{"type":"PresenceChatCallback","phone":"p","status":"LISTENING","lastSeen":null,"instanceId":"i","x":"\u0000"}`
	refused(t, s.post(t, bad), http.StatusUnprocessableEntity)
	list := quarantined(t, s)
	if len(list) != 1 || list[0].Gateway != "zapi" || !strings.Contains(list[0].Reason, "LISTENING") {
		t.Fatalf("quarantine: %+v", list)
	}
	kept, err := quarantine.Get(t.Context(), s.pool, list[0].ID)
	if err != nil || string(kept.Body) != bad {
		t.Errorf("kept %q, %v", kept.Body, err)
	}
	if err := quarantine.Retry(t.Context(), s.pool, kept.ID); err == nil {
		t.Error("a body that is still not understood went into history")
	}
	if err := quarantine.Drop(t.Context(), s.pool, kept.ID); err != nil {
		t.Error(err)
	}
	if err := quarantine.Drop(t.Context(), s.pool, kept.ID); err == nil {
		t.Error("dropped twice")
	}
}

// Messages are nobody's business here, whatever is wrong with the callback that brings one.
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
	if list := quarantined(t, s); len(list) != 0 {
		t.Errorf("quarantine: %+v", list)
	}
}

func TestARetryMovesWhatIsUnderstoodNowToItsTime(t *testing.T) {
	t.Parallel()
	s := start(t)
	received := at("2026-03-01T10:00:00.000007Z")
	w := ingest.NewWriter(ingest.Config{Pool: s.pool, Bound: 10e9, Metrics: metrics.New()})
	t.Cleanup(w.Close)
	id := uuid.New()
	err := w.Quarantine(t.Context(), ingest.Refused{
		ID: id, ReceivedAt: received, Gateway: "zapi", Reason: "of an older version", Body: []byte(body("i", "p", "PAUSED")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := quarantine.Retry(t.Context(), s.pool, id); err != nil {
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
	if list := quarantined(t, s); len(list) != 0 {
		t.Errorf("still in quarantine: %+v", list)
	}
}
