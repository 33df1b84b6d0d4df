package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func jsonInto(a response, v any) error { return json.Unmarshal(a.body, v) }

// TestPagesCoverTheWholeList reads every list in pages of one to three and at once.
func TestPagesCoverTheWholeList(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, timeout := range []string{"typing_timeout", "recording_timeout"} { // nothing runs out while the pages are read
		if err := settings.Set(t.Context(), s.pool, "", timeout, "24h"); err != nil {
			t.Fatal(err)
		}
	}
	var lines strings.Builder
	first := presence.Now().Add(-10 * time.Hour)
	statuses := presence.Statuses()
	// Among the phones are some whose order a locale would change; of the events many have the same receivedAt, and some
	// are alike altogether.
	phones := []string{"10", "9", "a", "B", "Ä", "z", "é", "_", "-", " ", "1 0", "55/44", "😀"}
	for i, phone := range phones {
		lines.WriteString(record("i", phone, statuses[i%len(statuses)].String(), first.Add(time.Duration(i)*time.Second)))
	}
	for i := range 23 {
		lines.WriteString(record("i", "p", statuses[i/2%len(statuses)].String(), first.Add(time.Duration(i/5*7)*time.Minute)))
	}
	for i := range 5 {
		lines.WriteString(record(fmt.Sprintf("%c i%d", 'c'-i%3, i), "p", "AVAILABLE", first))
	}
	s.load(t, lines.String())
	for _, status := range statuses {
		s.postID(t, body("i", "now "+status.String(), status.String()))
	}

	day := "from=" + url.QueryEscape(first.Add(-time.Hour).Format(time.RFC3339Nano)) + "&to=" + url.QueryEscape(presence.Now().Format(time.RFC3339Nano))
	for _, test := range []struct{ path, query, list string }{
		{"/v1/instances", "", "instances"},
		{"/v1/instances/i/contacts", "", "contacts"},
		{"/v1/instances/i/contacts", "status=UNAVAILABLE", "contacts"},
		{"/v1/instances/i/contacts", "status=COMPOSING,AVAILABLE,PAUSED", "contacts"},
		{"/v1/instances/i/contacts", "status=COMPOSING,RECORDING", "contacts"},
		{"/v1/instances/i/contacts", "status=COMPOSING,RECORDING,UNAVAILABLE&search=0", "contacts"},
		{"/v1/instances/i/contacts/p/timeline", day, "spans"},
		{"/v1/instances/i/contacts/p/timeline", "", "spans"},
		{"/v1/instances/i/contacts/p/events", day, "events"},
		{"/v1/instances/i/contacts/p/events", day + "&order=desc", "events"},
		{"/v1/instances/i/contacts/p/events", "", "events"},
		{"/v1/instances/i/contacts/p/events", "order=desc", "events"},
	} {
		t.Run(test.path+"?"+test.query, func(t *testing.T) {
			t.Parallel()
			whole := pages(t, s, test.path, test.query, test.list, 1000)
			if len(whole) < 2 {
				t.Fatalf("a list of %d is too short to test pages with", len(whole))
			}
			for limit := 1; limit <= 3; limit++ {
				got := pages(t, s, test.path, test.query, test.list, limit)
				if strings.Join(got, "\n") != strings.Join(whole, "\n") {
					t.Errorf("pages of %d give\n%s\nwant\n%s", limit, strings.Join(got, "\n"), strings.Join(whole, "\n"))
				}
			}
			if exact := pages(t, s, test.path, test.query, test.list, len(whole)); len(exact) != len(whole) {
				t.Errorf("a page of just %d gives %d", len(whole), len(exact))
			}
		})
	}
}

// pages reads a whole list and returns its content, without values that only depend on the clock.
func pages(t *testing.T, s *service, path, query, list string, limit int) []string {
	t.Helper()
	var all []string
	cursor := ""
	for range 1000 {
		a := s.do(t, request(t, http.MethodGet, fmt.Sprintf("%s%s?%s&limit=%d&cursor=%s", s.url, path, query, limit, cursor), nil))
		if a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", a.Status, a.body)
		}
		var page map[string]json.RawMessage
		var items []map[string]any
		var next *string
		if err := json.Unmarshal(a.body, &page); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(page[list], &items); err != nil || items == nil {
			t.Fatalf("no list of %s in %s (%v)", list, a.body, err)
		}
		if err := json.Unmarshal(page["nextCursor"], &next); err != nil {
			t.Fatalf("no nextCursor in %s (%v)", a.body, err)
		}
		for _, item := range items {
			delete(item, "now")
			if item["end"] == nil {
				delete(item, "seconds")
				delete(item, "confirmedSeconds")
			}
			line, _ := json.Marshal(item)
			all = append(all, string(line))
		}
		if next == nil {
			return all
		}
		if len(items) != limit {
			t.Fatalf("a page of %d that is not the last has %d", limit, len(items))
		}
		cursor = *next
	}
	t.Fatal("the pages never end")
	return nil
}

func TestPagesKeepTheRangeOfTheFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 4 {
		s.postID(t, body("i", "5544999999999", "COMPOSING"))
	}
	var page events
	s.get(t, ofContact+"/events?limit=3", &page)
	s.postID(t, body("i", "5544999999999", "PAUSED")) // after the first page was read
	s.get(t, ofContact+"/events?limit=3&cursor="+*page.NextCursor, &page)
	if len(page.Events) != 1 || page.NextCursor != nil {
		t.Errorf("the second page is %+v, want the one event that is left of what there was", page)
	}
}
