package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// TestLiveUnderLoad has many clients of the feed and waits open at two processes while events come in as fast as they can.
// In the end each client knows the truth, and each wait has responded.
func TestLiveUnderLoad(t *testing.T) {
	t.Parallel()
	// Fewer events than a client's queue holds: a machine that others use as well may keep a client waiting for a second.
	const feeds, waits, senders, each, contacts = 120, 40, 16, 55, 40
	s := start(t, func(c *app.Config) { c.Streams = 1000 })
	other := start(t, func(c *app.Config) { c.Database, c.Streams = s.database, 1000 })
	phone := func(i int) string { return fmt.Sprint("contact-", i) }
	for i := range contacts {
		s.postID(t, body("i", phone(i), "AVAILABLE"))
	}
	listening := make([]*feedReader, feeds)
	for i := range listening {
		of, query := s, ""
		if i%2 == 1 {
			of = other
		}
		if i%3 > 0 {
			query = "?phone=" + phone(i%contacts)
		}
		listening[i] = of.listen(t, query, "")
	}
	var waited atomic.Int32
	var ended sync.WaitGroup
	for i := range waits {
		ended.Go(func() {
			of := s
			if i%2 == 1 {
				of = other
			}
			res, err := of.client.Do(request(t, http.MethodGet, of.url+contactPath("i", phone(i))+"/wait?until=unavailable&timeout=1m", nil))
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				waited.Add(1)
			}
		})
	}
	rng := pgtest.Rand(t)
	began := time.Now()
	var sending sync.WaitGroup
	for n := range senders {
		sending.Go(func() {
			for range each {
				of := s
				if n%4 == 0 {
					of = other
				}
				of.postID(t, body("i", phone(rng.IntN(contacts)), presence.Statuses()[rng.IntN(5)].String()))
			}
		})
	}
	sending.Wait()
	t.Logf("%.0f events/s", senders*each/time.Since(began).Seconds())
	for i := range contacts {
		s.postID(t, body("i", phone(i), "PAUSED"))
		s.postID(t, body("i", phone(i), "UNAVAILABLE"))
	}
	ended.Wait()
	if waited.Load() != waits {
		t.Errorf("%d of %d waits have responded", waited.Load(), waits)
	}
	truth := map[string]presence.Contact{}
	var list struct {
		Contacts   []presence.Contact
		NextCursor *string
	}
	s.get(t, "/v1/instances/i/contacts?limit=1000", &list)
	for _, c := range list.Contacts {
		truth[c.Phone] = c
	}
	for i, f := range listening {
		want := contacts
		if i%3 > 0 {
			want = 1
		}
		known := map[string]feedState{}
		for right := 0; right < want; {
			e := f.read()
			if e.Event != "state" {
				t.Fatalf("feed %d: %+v", i, e)
			}
			known[e.Data.Phone] = e.Data
			right = 0
			for phone, state := range known {
				if c := truth[phone]; c.Status == state.Status && c.Since.Equal(state.Since) {
					right++
				}
			}
		}
	}
}
