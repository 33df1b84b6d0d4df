package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func connect(t *testing.T, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { conn.Close(t.Context()) })
	}
	return conn, err
}

// acknowledged collects the ids that the receiver returned, by contact.
type acknowledged struct {
	sync.Mutex
	ids map[string][]string
	n   atomic.Int64
}

// send posts an event and says whether it was acknowledged. An error is one of the connection.
func (a *acknowledged) send(t *testing.T, s *service, instance, phone, status string) (bool, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body(instance, phone, status)))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err
	}
	var got struct{ ID string }
	if err := json.Unmarshal(b, &got); res.StatusCode != http.StatusOK || err != nil || got.ID == "" {
		return false, nil
	}
	a.Lock()
	path := contactPath(instance, phone)
	a.ids[path] = append(a.ids[path], got.ID)
	a.Unlock()
	a.n.Add(1)
	return true, nil
}

// kept checks that each id was stored, and once.
func (a *acknowledged) kept(t *testing.T, s *service) (stored int) {
	t.Helper()
	for path, ids := range a.ids {
		found := map[string]int{}
		for cursor := ""; ; {
			var page events
			s.get(t, path+"/events?limit=1000&cursor="+cursor, &page)
			for _, e := range page.Events {
				found[e.ID]++
				stored++
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		for _, id := range ids {
			if found[id] != 1 {
				t.Errorf("%s: %s was acknowledged and found %d times", path, id, found[id])
			}
		}
		for id, n := range found {
			if n != 1 {
				t.Errorf("%s: %s is there %d times", path, id, n)
			}
		}
	}
	return stored
}

func TestAcknowledgedEventsAreStoredOnceUnderLoad(t *testing.T) {
	t.Parallel()
	const senders, each, instances, phones = 64, 200, 3, 40
	s := start(t)
	got := acknowledged{ids: map[string][]string{}}
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for i := range each {
				n := sender*each + i
				status := presence.Statuses()[n%5].String()
				ok, err := got.send(t, s, fmt.Sprint("i", n%instances), fmt.Sprint("p", n%phones), status)
				if !ok || err != nil {
					t.Errorf("an event was not acknowledged (%v)", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if stored := got.kept(t, s); stored != senders*each {
		t.Errorf("%d events are stored, %d were sent", stored, senders*each)
	}
}

func TestStopLosesNoAcknowledgedEvent(t *testing.T) {
	t.Parallel()
	s := start(t)
	got := acknowledged{ids: map[string][]string{}}
	var wg sync.WaitGroup
	for sender := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				ok, err := got.send(t, s, "i", fmt.Sprint("p", (sender+i)%20), "COMPOSING")
				if err != nil {
					return // the service has gone
				}
				if !ok {
					t.Error("a request got a response, but was not acknowledged")
					return
				}
			}
		})
	}
	pgtest.Eventually(t, "events flow", func() bool { return got.n.Load() > 500 })
	s.Stop()
	wg.Wait()
	if _, err := s.client.Get(s.url + "/healthz"); err == nil {
		t.Error("a stopped service responds")
	}
	// Another service on the same database has it all.
	again := startOn(t, s)
	if stored := got.kept(t, again); int64(stored) < got.n.Load() {
		t.Errorf("%d events are stored, %d were acknowledged", stored, got.n.Load())
	}
}
