//go:build linux

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// feed is what a client of a service's live feed knows. It reconnects.
type feed struct {
	mu     sync.Mutex
	status map[string]string // by phone
}

func follow(t testing.TB, s *service) *feed {
	f := &feed{status: map[string]string{}}
	res, err := http.Get("http://" + s.address() + "/v1/live")
	must(t, err)
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	t.Cleanup(func() { res.Body.Close() })
	go func() {
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var state struct{ Phone, Status string }
				if json.Unmarshal([]byte(data), &state) == nil {
					f.mu.Lock()
					f.status[state.Phone] = state.Status
					f.mu.Unlock()
				}
			}
		}
	}()
	return f
}

func (f *feed) knows(phone, status string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status[phone] == status
}

func post(t testing.TB, s *service, phone, status string) {
	t.Helper()
	body := fmt.Sprintf(`{"type":"PresenceChatCallback","phone":%q,"status":%q,"lastSeen":null,"instanceId":"i"}`, phone, status)
	res, err := http.Post("http://"+s.address()+"/webhooks/zapi", "application/json", strings.NewReader(body))
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

// TestLiveFeed has clients at two services, one of them behind PgBouncer, where there are no hints by NOTIFY. While the
// database is away, a client hears from its own service; when it is back, all know the truth.
func TestLiveFeed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	url, launch := newBouncer(t, p, d)
	launch()
	direct, pooled := newService(t, p, d.url()), newService(t, p, url)
	feeds := map[*service]*feed{direct: follow(t, direct), pooled: follow(t, pooled)}
	for i, s := range []*service{direct, pooled} {
		phone := fmt.Sprint("before-", i)
		post(t, s, phone, "AVAILABLE")
		for _, f := range feeds {
			pgtest.Eventually(t, "all clients know who is in the chat", func() bool { return f.knows(phone, "AVAILABLE") })
		}
	}
	d.kill()
	for i, s := range []*service{direct, pooled} {
		phone := fmt.Sprint("before-", i)
		post(t, s, phone, "UNAVAILABLE")
		pgtest.Eventually(t, "the client of this service knows who has left", func() bool { return feeds[s].knows(phone, "UNAVAILABLE") })
	}
	d.start()
	for i := range 2 {
		for _, f := range feeds {
			pgtest.Eventually(t, "all clients know who has left", func() bool { return f.knows(fmt.Sprint("before-", i), "UNAVAILABLE") })
		}
	}
}
