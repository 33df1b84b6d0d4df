package app_test

import (
	"encoding/base64"
	"encoding/csv"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

const (
	ofInstance = "/v1/instances/i"
	ofContact  = ofInstance + "/contacts/5544999999999"
)

func testBadParameters(t *testing.T, s *service) {
	s.load(t, record("i", "5544999999998", "AVAILABLE", at("2025-10-01T10:00:00Z")))
	// A cursor of each list.
	next := func(path string) string {
		var got struct{ NextCursor *string }
		a := s.do(t, request(t, http.MethodGet, s.url+path, nil))
		if err := jsonInto(a, &got); err != nil || got.NextCursor == nil {
			t.Fatalf("%s: no cursor in %s", path, a.body)
		}
		return *got.NextCursor
	}
	const in = "from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z"
	ofSpans, ofEvents := next(ofContact+"/timeline?limit=1&"+in), next(ofContact+"/events?limit=1&"+in)
	ofContacts := next(ofInstance + "/contacts?limit=1")
	raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

	type c struct{ path, query, location string }
	cases := []c{
		{ofInstance + "/contacts", "status=LISTENING", "query.status[0]"},
		{ofInstance + "/contacts", "status=COMPOSING,LISTENING", "query.status[1]"},
		{ofInstance + "/contacts", "status=composing", "query.status[0]"},
		{ofInstance + "/contacts", "search=" + strings.Repeat("9", 129), "query.search"},
		{ofInstance + "/contacts", "search=%00", "query.search"},
		{ofInstance + "/contacts", "search=%ff", "query.search"},
		{ofContact + "/events", "order=up", "query.order"},
		{ofContact + "/events", "order=DESC", "query.order"},
		{ofContact + "/timeline", "limit=10001", "query.limit"},
		{ofContact + "/events", "limit=1001", "query.limit"},
		{ofInstance + "/contacts", "limit=1001", "query.limit"},
		{"/v1/instances", "limit=1001", "query.limit"},

		{ofContact + "/timeline", in + "&limit=1&cursor=" + ofEvents, "query.cursor"},
		{ofContact + "/events", in + "&limit=1&cursor=" + ofSpans, "query.cursor"},
		{ofInstance + "/contacts", "cursor=" + ofSpans, "query.cursor"},
		{ofInstance + "/contacts", "status=COMPOSING&cursor=" + ofContacts, "query.cursor"},
		{ofInstance + "/contacts", "search=4&cursor=" + ofContacts, "query.cursor"},
		{ofContact + "/events", in + "&order=desc&cursor=" + ofEvents, "query.cursor"},
		{ofContact + "/events", "from=2026-10-01T00:00:01Z&to=2026-10-02T00:00:00Z&cursor=" + ofEvents, "query.cursor"},
		{ofContact + "/timeline", "from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:01Z&cursor=" + ofSpans, "query.cursor"},
		{ofInstance + "/contacts/5544999999998/events", in + "&cursor=" + ofEvents, "query.cursor"},
		{"/v1/instances", "cursor=" + ofContacts, "query.cursor"},
		{"/v1/instances", "cursor=" + raw(`{"l":["instances"],"n":"\u0000"}`), "query.cursor"},
		{ofInstance + "/contacts", "cursor=" + raw(`{"l":["contacts","i","",""],"n":"\u0000"}`), "query.cursor"},
	}
	for _, path := range []string{"/v1/instances", ofInstance + "/contacts", ofContact + "/timeline", ofContact + "/events"} {
		for _, limit := range []string{"0", "-1", "abc", "1.5", "1e2", "0x10", "99999999999999999999", "10%20", "٣"} {
			cases = append(cases, c{path, "limit=" + limit, "query.limit"})
		}
		for _, cursor := range []string{
			"garbage", "%00", "%ff", "e30", "bnVsbA", raw("[]"), raw(`{"l":[]}`), raw(`{"l":null}`), raw(`{"l":1}`),
			ofSpans[:len(ofSpans)-1], ofEvents[:len(ofEvents)/2], ofContacts + "=", ofContacts[1:], strings.Repeat("A", 4000),
		} {
			cases = append(cases, c{path, "cursor=" + cursor, "query.cursor"})
		}
	}
	for _, path := range []string{ofContact + "/timeline", ofContact + "/events", ofContact + "/durations", ofInstance + "/durations"} {
		cases = append(cases,
			c{path, "from=2026-10-01T00:00:00Z&to=2026-10-01T00:00:00Z", "query.from"},
			c{path, "from=2026-10-02T00:00:00Z&to=2026-10-01T00:00:00Z", "query.from"},
			c{path, "from=2026-10-01T00:00:00.0000009Z&to=2026-10-01T00:00:00Z", "query.from"}, // the same microsecond
			c{path, "from=2999-01-01T00:00:00Z", "query.from"},
			c{path, "from=2026-10-01&last=1d", "query.last"},
			c{path, "last=0s", "query.last"}, c{path, "last=-1d", "query.last"}, c{path, "last=7", "query.last"}, c{path, "last=99999w", "query.last"},
		)
		for _, moment := range []string{
			"yesterday", "2026-02-30", "2026-10-1", "20261001", "0000-12-31", "2026-10-01T00:00:00", "1790812800", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
			"2026-10-01T24:00:00Z", "2026-10-01T00:00:60Z", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z",
			"infinity", "now()", "%00", "2026-10-01T00:00:00+99:00",
		} {
			cases = append(cases, c{path, "from=" + moment, "query.from"}, c{path, "to=" + moment, "query.to"})
		}
	}
	// A range that would begin before the year 1.
	for _, path := range []string{
		ofContact + "/timeline", ofContact + "/events", ofContact + "/durations", ofInstance + "/durations", ofInstance + "/heatmap",
		ofContact + "/heatmap", ofContact + "/habits", ofContact + "/lanes", ofInstance + "/top", ofInstance + "/compare",
	} {
		phones := ""
		if path == ofInstance+"/compare" {
			phones = "&phone=5544999999999&phone=5544999999998"
		}
		cases = append(cases, c{path, "to=0001-01-01T23:59:59Z" + phones, "query.to"}, c{path, "to=0050-01-01&last=100y" + phones, "query.last"})
	}
	for _, path := range []string{ofContact + "/durations", ofInstance + "/durations"} {
		for _, tz := range []string{"Local", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "GMT+25", "-03:00", "america/sao_paulo%00", "%ff", "localtime", "posixrules", "posix/UTC", "right/UTC"} {
			cases = append(cases, c{path, "tz=" + tz, "query.tz"})
		}
		cases = append(cases,
			c{path, "bucket=minute", "query.bucket"}, c{path, "bucket=Day", "query.bucket"},
			c{path, "bucket=hour&from=2026-01-01T00:00:00Z&to=2026-02-11T16:00:00.000001Z", "query.bucket"}, // 1000 hours and a bit
			c{path, "bucket=month&from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z", "query.bucket"},
		)
	}
	for _, test := range cases {
		t.Run(test.path+"?"+test.query, func(t *testing.T) {
			t.Parallel()
			refusedFor(t, s.do(t, request(t, http.MethodGet, s.url+test.path+"?"+test.query, nil)), http.StatusUnprocessableEntity, test.location)
		})
	}
}

func testThousandBuckets(t *testing.T, s *service) {
	for _, path := range []string{ofContact, ofInstance} {
		var d durations
		s.get(t, path+"/durations?bucket=hour&from=2026-09-01T00:00:00Z&to=2026-10-12T16:00:00Z", &d)
		if len(d.Buckets) != 1000 || d.Total.Typing.Count != 1 {
			t.Errorf("%d buckets, total %s", len(d.Buckets), show(d.Total))
		}
		addUp(t, path, d)
	}
}

func testUnknownContactOrInstance(t *testing.T, s *service) {
	long := strings.Repeat("9", 129)
	for _, path := range []string{
		contactPath("i", "x"), contactPath("I", "5544999999999"), contactPath("x", "5544999999999"), contactPath("i", " 5544999999999"),
		contactPath("i", long), contactPath(long, "x"), contactPath("i", "\x00"), contactPath("\x00", "x"), contactPath("i", "\xff"),
		contactPath("i", "5544999999999\x00"), contactPath("i", strings.Repeat("é", 128)),
	} {
		for _, of := range []string{"", "/timeline", "/events", "/events?order=desc", "/durations"} {
			notFound(t, s, path+of)
		}
	}
	for _, instance := range []string{"x", "I", "%00", "%ff", long} {
		for _, of := range []string{"/contacts", "/contacts?status=COMPOSING", "/durations"} {
			notFound(t, s, "/v1/instances/"+instance+of)
		}
	}
}

// notFound wants 404, or 422 naming the part of the path for what can be no name at all.
func notFound(t *testing.T, s *service, path string) {
	t.Helper()
	a := s.do(t, request(t, http.MethodGet, s.url+path, nil))
	if a.StatusCode == http.StatusUnprocessableEntity {
		if p := refused(t, a, a.StatusCode); len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, "path.") {
			t.Errorf("%s: %s", path, a.body)
		}
		return
	}
	refused(t, a, http.StatusNotFound)
}

func TestRangeDefaultsToLast24Hours(t *testing.T) {
	t.Parallel()
	s := start(t)
	now := presence.Now()
	var lines strings.Builder
	for hours := range 49 {
		lines.WriteString(record("i", "5544999999999", "UNAVAILABLE", now.Add(time.Minute-time.Duration(hours)*time.Hour)))
	}
	s.load(t, lines.String())
	count := func(query string) int {
		var got events
		s.get(t, ofContact+"/events?"+query, &got)
		return len(got.Events)
	}
	// One of them lies a minute ahead and is not in a range that ends now.
	if n := count(""); n != 24 {
		t.Errorf("%d events by default, want 24", n)
	}
	if n := count("from=&to=&limit=&cursor=&order="); n != 24 {
		t.Errorf("%d events with empty parameters, want 24", n)
	}
	ago := func(d time.Duration) string { return url.QueryEscape(now.Add(-d).Format(time.RFC3339Nano)) }
	if n := count("to=" + ago(20*time.Hour)); n != 24 {
		t.Errorf("%d events up to 20 hours ago, want the 24 of the 24 hours before", n)
	}
	if n := count("from=" + ago(5*time.Hour)); n != 5 {
		t.Errorf("%d events of 5 hours, want 5", n)
	}
	var d durations
	before := presence.Now()
	s.get(t, ofContact+"/durations", &d)
	if after := presence.Now(); d.To.Before(before) || d.To.After(after) || d.To.Sub(d.From) != 24*time.Hour {
		t.Errorf("durations of %s – %s at %s – %s", d.From, d.To, before, after)
	}
}

func testMomentsOfAnyOffset(t *testing.T, s *service) {
	for _, query := range []string{
		"from=2026-10-01T10:00:00Z&to=2026-10-01T10:01:00Z",
		"from=2026-10-01T07:00:00-03:00&to=2026-10-01T07:01:00-03:00",
		"from=2026-10-01T15:30:00%2B05:30&to=2026-10-01T15:31:00%2B05:30",
		"from=2026-10-01T15:30:00+05:30&to=2026-10-01T15:31:00+05:30", // a plus that is not escaped is a blank
		"from=2026-10-01T15:30:00%2b05:30&to=2026-10-01T10:01:00.000000999Z",
		"from=2026-10-01T10:00:00.000000Z&to=2026-10-01T10:00:10.000001Z",
		"from=2026-10-02T00:00:00%2B14:00&to=2026-09-30T22:01:00-12:00",
	} {
		var got events
		s.get(t, ofContact+"/events?"+query, &got)
		if len(got.Events) != 2 {
			t.Errorf("%s: %d events, want 2", query, len(got.Events))
		}
	}
	var got durations
	s.get(t, ofContact+"/durations?from=2026-10-01T15:30:00+05:30&to=2026-10-01T15:31:00+05:30&tz=Asia/Kolkata&bucket=hour", &got)
	if !got.From.Equal(at("2026-10-01T10:00:00Z")) || got.From.Location() != time.UTC || got.TZ != "Asia/Kolkata" {
		t.Errorf("durations of %s in %s, want UTC", got.From, got.TZ)
	}
}

// Clients expect every parameter to have an effect.
func TestUnknownAndRepeatedParametersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, record("i", "5544999999999", "AVAILABLE", at("2026-10-01T10:00:00Z"))+record("i", "1", "AVAILABLE", at("2026-10-01T10:00:00Z")))
	for query, location := range map[string]string{
		"/v1/instances?limt=1": "query.limt", "/v1/instances?limit=1&limit=2": "query.limit", "/v1/instances?": "",
		ofInstance + "/contacts?Status=COMPOSING": "query.Status", ofInstance + "/contacts?search=1&search=2": "query.search",
		ofContact + "/timeline?from=2026-10-01T10:00:00Z&from=2026-10-01T11:00:00Z": "query.from",
		ofContact + "?now=1": "query.now", ofContact + "/events?order=asc&order=asc": "query.order",
		ofInstance + "/top?%1b[2J=1": "query.\x1b[2J", ofInstance + "/top?%zz": "query", ofInstance + "/top?a;b": "query", ofInstance + "/top?=1": "query",
		ofInstance + "/top?" + strings.Repeat("x", 5000): "query." + strings.Repeat("x", 40) + "…",
		ofInstance + "/heatmap?token=secret":             "query.token",
		// An empty value in a list is a mistake, and must not turn the filter off.
		ofInstance + "/contacts?status=,COMPOSING": "query.status", ofInstance + "/compare?phone=1,5544999999999,": "query.phone",
		ofInstance + "/compare?phone=&phone=1&phone=5544999999999": "query.phone",
		ofInstance + "/contacts?status=":                           "query.status", ofInstance + "/contacts?status": "query.status", ofInstance + "/contacts?status=,": "query.status",
		"/v1/live?phone=": "query.phone", "/v1/live?instance&status=PAUSED": "query.instance", "/v1/now?status=&status=": "query.status",
		ofInstance + "/compare?phone=": "query.phone",
	} {
		a := s.fetch(t, http.MethodGet, query, "")
		if location == "" {
			if a.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", query, a.Status)
			}
			continue
		}
		if p := refused(t, a, http.StatusUnprocessableEntity); len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	// A list takes commas and repetition alike.
	for query, want := range map[string]int{
		"/contacts?status=COMPOSING&status=UNAVAILABLE": 2, "/contacts?status=COMPOSING,UNAVAILABLE": 2, "/contacts?status=COMPOSING&status=PAUSED": 0,
		"/contacts?status=COMPOSING&status=PAUSED,UNAVAILABLE": 2,
		// Without a value it is empty, which is the default.
		"/contacts?search": 2, "/contacts?search&status=UNAVAILABLE": 2, "/contacts?limit&search=55": 1,
		"/compare?phone=1&phone=5544999999999": 2, "/compare?phone=1,5544999999999": 2, "/compare?phone=1,5544999999999&phone=1": 3,
	} {
		var got struct{ Contacts []any }
		if a := s.do(t, request(t, http.MethodGet, s.url+ofInstance+query, nil)); jsonInto(a, &got) != nil || len(got.Contacts) != want {
			t.Errorf("%s: %s, want %d", query, a.body, want)
		}
	}
}

// A phone that is a formula must not run when somebody opens the CSV.
func TestCSVHoldsNoFormulas(t *testing.T) {
	t.Parallel()
	s := start(t)
	phones := []string{"=1+1", "+5544", "-1", "@SUM(A1)", "\t=1", "\r=1", "5544", "a=1"}
	for _, phone := range phones {
		s.postID(t, body("i", phone, "COMPOSING"))
	}
	a := s.do(t, request(t, http.MethodGet, s.url+ofInstance+"/contacts?format=csv", nil))
	rows, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	if err != nil || len(rows) != len(phones)+1 {
		t.Fatalf("%v in %s", err, a.body)
	}
	for _, row := range rows[1:] {
		if strings.ContainsAny(row[0][:1], "=+-@\t\r") {
			t.Errorf("a cell is %q", row[0])
		}
	}
	if !strings.Contains(string(a.body), "\n5544,") || !strings.Contains(string(a.body), "'+5544,") {
		t.Errorf("%s", a.body)
	}
}
