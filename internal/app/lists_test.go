package app_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

const (
	csvType    = "text/csv; charset=utf-8"
	ndjsonType = "application/x-ndjson"
)

// getAs reads a path, which must exist and have a media type.
func (s *service) getAs(t testing.TB, media, path string) string {
	t.Helper()
	a := s.do(t, request(t, http.MethodGet, s.url+path, nil))
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != media {
		t.Fatalf("GET %s: %s, %s: %.200s; want %s", path, a.Status, a.Header.Get("Content-Type"), a.body, media)
	}
	return string(a.body)
}

// TestCSVAndNDJSONAreTheWholeList compares them with the pages of JSON, of lists of more than two pages.
func TestCSVAndNDJSONAreTheWholeList(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := at("2026-10-01T00:00:00Z")
	var lines strings.Builder
	for i := range 20_500 {
		line := record("i", "p", []string{"COMPOSING", "PAUSED", "AVAILABLE"}[i%3], first.Add(time.Duration(i)*time.Second))
		if i%7 == 0 {
			line = strings.Replace(line, `"lastSeen":null`, `"lastSeen":17,"name":"A, \"B\"  é <&>","deep": {"x" : [1, null]}`, 1)
		}
		lines.WriteString(line)
	}
	for i := range 2_100 {
		lines.WriteString(record("i", fmt.Sprint("phone ", i), "AVAILABLE", first))
		lines.WriteString(record(fmt.Sprint("instance ", i), "p", "AVAILABLE", first))
	}
	for _, phone := range []string{`a,b`, `"`, "line\nbreak", " ", "Ä😀", "=1+1", "<&>"} {
		lines.WriteString(record("i", phone, "AVAILABLE", first))
	}
	s.load(t, lines.String())

	const day = "from=2026-10-01T00:00:00Z&to=2026-10-01T05:40:00Z"
	for _, test := range []struct {
		path, query, list string
		long              bool // of more than two of the stream's pages
	}{
		{"/v1/instances", "", "instances", true},
		{"/v1/instances/i/contacts", "status=UNAVAILABLE", "contacts", true},
		{"/v1/instances/i/contacts", "search=%3C", "contacts", false},
		{"/v1/instances/i/contacts", "search=nobody", "contacts", false},
		{"/v1/instances/i/contacts/p/timeline", day, "spans", true},
		{"/v1/instances/i/contacts/p/events", day, "events", true},
		{"/v1/instances/i/contacts/p/events", day + "&order=desc", "events", true},
		{"/v1/instances/i/contacts/p/events", day + "&limit=3", "events", false},
		{"/v1/instances/i/contacts/p/timeline", day + "&limit=5", "spans", false},
		{"/v1/instances/i/contacts/p/durations", day + "&bucket=hour", "buckets", false},
		{"/v1/instances/i/durations", day + "&bucket=day&tz=Europe/Berlin", "buckets", false},
	} {
		t.Run(test.path+"?"+test.query, func(t *testing.T) {
			t.Parallel()
			var want []json.RawMessage
			for cursor := ""; ; {
				var page map[string]json.RawMessage
				var items []json.RawMessage
				var next *string
				query := test.query
				if test.long {
					query += "&limit=1000"
				}
				if cursor != "" {
					query += "&cursor=" + cursor
				}
				a := s.getAs(t, "application/json", test.path+"?"+strings.TrimPrefix(query, "&"))
				if err := json.Unmarshal([]byte(a), &page); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(page[test.list], &items); err != nil {
					t.Fatalf("no %s in %.200s: %v", test.list, a, err)
				}
				want = append(want, items...)
				if page["nextCursor"] != nil {
					if err := json.Unmarshal(page["nextCursor"], &next); err != nil {
						t.Fatal(err)
					}
				}
				if next == nil || strings.Contains(test.query, "limit=") {
					break
				}
				cursor = *next
			}
			if test.long && len(want) < 2001 || !test.long && len(want) > 1000 {
				t.Fatalf("the list has %d", len(want))
			}

			var got []json.RawMessage
			for line := range strings.Lines(s.getAs(t, ndjsonType, test.path+"?format=ndjson&"+test.query)) {
				got = append(got, json.RawMessage(strings.TrimSuffix(line, "\n")))
			}
			if len(got) != len(want) {
				t.Fatalf("NDJSON has %d lines, the list %d", len(got), len(want))
			}
			for i := range want {
				if a, b := withoutClock(string(got[i])), withoutClock(string(want[i])); a != b {
					t.Fatalf("line %d of NDJSON is\n%s\nthe list has\n%s", i, a, b)
				}
			}

			text := s.getAs(t, csvType, test.path+"?format=csv&"+test.query)
			if head, _, _ := strings.Cut(text, "\n"); !strings.HasSuffix(head, "\r") {
				t.Errorf("the line %q does not end as RFC 4180 has it", head)
			}
			rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != len(want)+1 {
				t.Fatalf("CSV has %d rows, the list %d", len(rows)-1, len(want))
			}
			for i, row := range rows[1:] {
				named := map[string]string{}
				for j, cell := range row {
					named[rows[0][j]] = strings.TrimPrefix(cell, "'") // before a formula
				}
				cells := map[string]string{}
				flatten(t, cells, "", want[i])
				delete(named, "now")
				delete(cells, "now")
				if fmt.Sprint(named) != fmt.Sprint(cells) {
					t.Fatalf("row %d of CSV is\n%q\nthe list has\n%q", i, named, cells)
				}
			}
		})
	}
}

// withoutClock leaves out a contact's now, its last member.
func withoutClock(object string) string {
	before, _, _ := strings.Cut(object, `,"now":`)
	return before
}

// flatten makes cells of an object's members as the README says.
func flatten(t *testing.T, cells map[string]string, prefix string, object json.RawMessage) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		if prefix != "" {
			name = prefix + strings.ToUpper(name[:1]) + name[1:]
		}
		var s string
		switch {
		case string(value) == "null":
			cells[name] = ""
		case json.Unmarshal(value, &s) == nil:
			cells[name] = s
		case value[0] == '{' && name != "extra":
			flatten(t, cells, name, value)
		default:
			cells[name] = string(value)
		}
	}
}

// What CSV and NDJSON of the example look like.
func testExampleAsCSV(t *testing.T, s *service) {
	const day = "from=2026-10-01T00:00:00Z&to=2026-10-01T10:07:00Z"
	for _, test := range []struct{ path, want string }{
		{ofContact + "/timeline?" + day, `status,start,end,seconds,confirmedSeconds,events,endedBy
COMPOSING,2026-10-01T10:00:00Z,2026-10-01T10:00:35Z,35,10,2,timeout
PAUSED,2026-10-01T10:00:35Z,2026-10-01T10:02:00Z,85,0,0,event
AVAILABLE,2026-10-01T10:02:00Z,2026-10-01T10:07:00Z,300,0,1,timeout
`},
		{ofContact + "/events?limit=1&" + day, `id,receivedAt,status,lastSeen,extra
` + presence.EventID(at("2026-10-01T10:00:00Z"), 0) + `,2026-10-01T10:00:00Z,COMPOSING,,
`},
		{ofInstance + "/durations?" + day, "start,end,typingCount,typingSeconds,typingConfirmedSeconds,typingMeanSeconds,typingMedianSeconds,typingP90Seconds,typingMaxSeconds," +
			"recordingCount,recordingSeconds,recordingConfirmedSeconds,recordingMeanSeconds,recordingMedianSeconds,recordingP90Seconds,recordingMaxSeconds," +
			"inChatCount,inChatSeconds,inChatConfirmedSeconds,inChatMeanSeconds,inChatMedianSeconds,inChatP90Seconds,inChatMaxSeconds\n" +
			"2026-10-01T00:00:00Z,2026-10-01T10:07:00Z,1,35,10,35,35,35,35,0,0,0,,,,,1,420,120,420,420,420,420\n"},
		{"/v1/instances", "instanceId,firstEventAt,lastEventAt\ni,2025-10-01T10:00:00Z,2026-10-01T10:02:00Z\n"},
	} {
		got := s.getAs(t, csvType, test.path+map[bool]string{true: "&", false: "?"}[strings.Contains(test.path, "?")]+"format=csv")
		if test.path == "/v1/instances" { // another test adds an older event
			got = strings.Replace(got, "2026-10-01T10:00:00Z", "2025-10-01T10:00:00Z", 1)
		}
		if got != strings.ReplaceAll(test.want, "\n", "\r\n") {
			t.Errorf("%s:\n%s\nwant\n%s", test.path, got, test.want)
		}
	}
	got := s.getAs(t, ndjsonType, ofContact+"/durations?format=ndjson&"+day)
	if !strings.HasPrefix(got, `{"start":"2026-10-01T00:00:00Z","end":"2026-10-01T10:07:00Z","typing":{"count":1,`) || strings.Count(got, "\n") != 1 {
		t.Errorf("the total as NDJSON is %s", got)
	}
}

func testFormatAndAccept(t *testing.T, s *service) {
	for _, test := range []struct{ format, accept, want string }{
		{"", "", "application/json"},
		{"", "*/*", "application/json"},
		{"", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"},
		{"", "image/png", "application/json"},
		{"", "text/csv", csvType},
		{"", "TEXT/CSV; charset=utf-8, */*;q=0.1", csvType},
		{"", "application/json;q=0.5, text/csv;q=0.4", "application/json"},
		{"", "application/json;q=0.5, text/csv;q=0.6", csvType},
		{"", "text/csv;q=0", "application/json"},
		{"", "application/x-ndjson", ndjsonType},
		{"", "application/ndjson", ndjsonType},
		{"", ";;,,", "application/json"},
		{"json", "text/csv", "application/json"},
		{"csv", "application/json", csvType},
		{"ndjson", "text/csv", ndjsonType},
	} {
		req := request(t, http.MethodGet, s.url+ofInstance+"/contacts?format="+test.format, nil)
		req.Header.Set("Accept", test.accept)
		a := s.do(t, req)
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != test.want || a.Header.Get("Vary") != "Accept" {
			t.Errorf("format %q, Accept %q: %s, %s", test.format, test.accept, a.Status, a.Header)
		}
	}
	// An error is a problem whatever form is asked for.
	for _, query := range []string{"format=xml", "format=CSV", "format=csv&limit=0", "format=ndjson&cursor=x"} {
		for _, path := range []string{"/v1/instances", ofInstance + "/contacts", ofContact + "/timeline", ofContact + "/events"} {
			req := request(t, http.MethodGet, s.url+path+"?"+query, nil)
			req.Header.Set("Accept", "text/csv")
			parts := strings.Split(query, "&")
			name, _, _ := strings.Cut(parts[len(parts)-1], "=")
			refusedFor(t, s.do(t, req), http.StatusUnprocessableEntity, "query."+name)
		}
	}
	for _, path := range []string{ofContact + "/durations", ofInstance + "/durations"} {
		refusedFor(t, s.do(t, request(t, http.MethodGet, s.url+path+"?format=xlsx", nil)), http.StatusUnprocessableEntity, "query.format")
	}
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/instances/nobody/contacts?format=csv", nil)), http.StatusNotFound)
	// One object and an error are JSON, even if Accept is malformed.
	for _, accept := range []string{"text/html;,*/*", "*/*; ,text/csv", "a;b,", ";,", "json", ""} {
		for path, status := range map[string]int{ofContact: 200, "/v1/status": 200, ofInstance + "/contacts/nobody": 404, ofContact + "/timeline?limit=0": 422} {
			req := request(t, http.MethodGet, s.url+path, nil)
			req.Header.Set("Accept", accept)
			if a := s.do(t, req); status != http.StatusOK {
				refused(t, a, status)
			} else if a.StatusCode != status || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s, Accept %q: %s, %s", path, accept, a.Status, a.Header.Get("Content-Type"))
			}
		}
	}
	// HEAD asks whether there is something, not for all of it.
	for _, format := range []string{"json", "csv", "ndjson"} {
		a := s.do(t, request(t, http.MethodHead, s.url+ofInstance+"/contacts?format="+format, nil))
		if a.StatusCode != http.StatusOK || len(a.body) > 0 {
			t.Errorf("HEAD of %s: %s", format, a.Status)
		}
	}
}

// TestFailedListIsTruncated takes the database away when some of a list is sent.
func TestFailedListIsTruncated(t *testing.T) {
	t.Parallel()
	const rows = 2000 // of 8 kB: more than lies in the buffers between the service and a client that does not read
	s := start(t)
	first := at("2026-10-01T00:00:00Z")
	var lines strings.Builder
	for i := range rows {
		line := record("i", "5544999999999", "COMPOSING", first.Add(time.Duration(i)*time.Second))
		lines.WriteString(strings.Replace(line, "{", `{"x":"`+strings.Repeat("x", 8000)+`",`, 1))
	}
	s.load(t, lines.String())
	lists := map[string]io.Reader{}
	for _, format := range []string{"csv", "ndjson"} {
		res, err := s.client.Do(request(t, http.MethodGet,
			s.url+ofContact+"/events?from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z&format="+format, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err := io.CopyN(io.Discard, res.Body, 100_000); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %d bytes: %v", format, res.Status, n, err)
		}
		lists[format] = res.Body
	}
	away(t, s, true)
	defer away(t, s, false) // for the checks at the end of the test
	for format, rest := range lists {
		if n, err := io.Copy(io.Discard, rest); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: after %d more bytes the list ends with %v, as if it were whole", format, n, err)
		}
	}
}
