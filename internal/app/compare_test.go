package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

type (
	comparison struct {
		From, To time.Time
		Contacts []presence.ContactSummary
	}
	heatmap struct {
		From, To    time.Time
		TZ, Measure string
		Cells       []presence.Heat
	}
	habits struct {
		From, To    time.Time
		TZ          string
		Weeks       int
		Cells, Best []presence.Habit
	}
	top struct {
		From, To time.Time
		By       string
		Contacts []presence.Rank
	}
)

// fourContacts is the example, which counts 35 s of typing, 10 s confirmed, and a visit of 420 s, 120 s confirmed, from
// 10:00 on, and three more contacts: B records from 10:59:50 until it runs out after 25 s and is in the chat for 70 s, and
// again for 10 s from 12:00 on; D types for 35 s from 10:00 on, all confirmed; the only event of C is that it left.
func fourContacts() string {
	return example +
		record("i", "B", "RECORDING", at("2026-10-01T10:59:50Z")) +
		record("i", "B", "AVAILABLE", at("2026-10-01T11:00:20Z")) +
		record("i", "B", "UNAVAILABLE", at("2026-10-01T11:01:00Z")) +
		record("i", "B", "AVAILABLE", at("2026-10-01T12:00:00Z")) +
		record("i", "B", "UNAVAILABLE", at("2026-10-01T12:00:10Z")) +
		record("i", "C", "UNAVAILABLE", at("2026-10-01T10:00:00Z")) +
		record("i", "D", "COMPOSING", at("2026-10-01T10:00:00Z")) +
		record("i", "D", "COMPOSING", at("2026-10-01T10:00:15Z")) +
		record("i", "D", "UNAVAILABLE", at("2026-10-01T10:00:35Z")) +
		record("other", "E", "COMPOSING", at("2026-10-01T10:00:00Z"))
}

const firstOfOctober = "from=2026-10-01T00:00:00Z&to=2026-10-02T00:00:00Z"

// TestCompareContacts runs tests that read four contacts beside each other on one service.
func TestCompareContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, fourContacts())
	for name, test := range map[string]func(*testing.T, *service){
		"Compare":              testCompare,
		"Top":                  testTop,
		"Heatmap":              testHeatmap,
		"ContactHeatmap":       testContactHeatmap,
		"Habits":               testHabits,
		"CompareBadParameters": testCompareBadParameters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func testCompare(t *testing.T, s *service) {
	var got comparison
	s.get(t, ofInstance+"/compare?phone=B&phone=5544999999999&phone=C&phone=B&"+firstOfOctober, &got)
	if !got.From.Equal(at("2026-10-01T00:00:00Z")) || !got.To.Equal(at("2026-10-02T00:00:00Z")) {
		t.Errorf("from %s to %s", got.From, got.To)
	}
	var lines []string
	for _, c := range got.Contacts {
		lines = append(lines, c.Phone+" "+strings.TrimSpace(show(c.Summary)))
	}
	const b = "B [0 in 0 s, 0 s confirmed null null null null] [1 in 25 s, 0 s confirmed 25 25 25 25] [2 in 80 s, 80 s confirmed 40 40 64 70]"
	want := []string{
		b,
		"5544999999999 [1 in 35 s, 10 s confirmed 35 35 35 35] [0 in 0 s, 0 s confirmed null null null null] [1 in 420 s, 120 s confirmed 420 420 420 420]",
		"C [0 in 0 s, 0 s confirmed null null null null] [0 in 0 s, 0 s confirmed null null null null] [0 in 0 s, 0 s confirmed null null null null]",
		b,
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	text := s.getAs(t, csvType, ofInstance+"/compare?format=csv&phone=D&phone=B&"+firstOfOctober)
	if !strings.HasPrefix(text, "phone,typingCount,typingSeconds,") ||
		!strings.HasSuffix(text, "\r\nD,1,35,35,35,35,35,35,0,0,0,,,,,1,35,35,35,35,35,35\r\nB,0,0,0,,,,,1,25,0,25,25,25,25,2,80,80,40,40,64,70\r\n") {
		t.Errorf("as CSV:\n%s", text)
	}
	lineB := s.getAs(t, ndjsonType, ofInstance+"/compare?format=ndjson&phone=D&phone=B&"+firstOfOctober)
	if !strings.Contains(lineB, "\n"+`{"phone":"B","typing":{"count":0,"seconds":0,`) || strings.Count(lineB, "\n") != 2 {
		t.Errorf("as NDJSON:\n%s", lineB)
	}
}

func testTop(t *testing.T, s *service) {
	const a = "5544999999999"
	for _, test := range []struct {
		query string
		by    string
		want  []presence.Rank
	}{
		{"", "typing", []presence.Rank{{Phone: a, Count: 1, Seconds: 35, ConfirmedSeconds: 10}, {Phone: "D", Count: 1, Seconds: 35, ConfirmedSeconds: 35}}},
		{"by=recording", "recording", []presence.Rank{{Phone: "B", Count: 1, Seconds: 25}}},
		{"by=inChat", "inChat", []presence.Rank{
			{Phone: a, Count: 1, Seconds: 420, ConfirmedSeconds: 120}, {Phone: "B", Count: 2, Seconds: 80, ConfirmedSeconds: 80},
			{Phone: "D", Count: 1, Seconds: 35, ConfirmedSeconds: 35}}},
		{"by=visits", "visits", []presence.Rank{
			{Phone: "B", Count: 2, Seconds: 80, ConfirmedSeconds: 80}, {Phone: a, Count: 1, Seconds: 420, ConfirmedSeconds: 120},
			{Phone: "D", Count: 1, Seconds: 35, ConfirmedSeconds: 35}}},
		{"by=visits&limit=1", "visits", []presence.Rank{{Phone: "B", Count: 2, Seconds: 80, ConfirmedSeconds: 80}}},
		// What began before the range counts by its time inside only.
		{"by=typing&from=2026-10-01T10:00:20Z", "typing", []presence.Rank{
			{Phone: a, Seconds: 15}, {Phone: "D", Seconds: 15, ConfirmedSeconds: 15}}},
		{"by=visits&from=2026-10-01T10:00:20Z", "visits", []presence.Rank{{Phone: "B", Count: 2, Seconds: 80, ConfirmedSeconds: 80}}},
		{"by=recording&from=2026-10-01T12:00:00Z", "recording", nil},
	} {
		query := firstOfOctober + "&" + test.query
		if strings.Contains(test.query, "from=") {
			query = "to=2026-10-02T00:00:00Z&" + test.query
		}
		var got top
		s.get(t, ofInstance+"/top?"+query, &got)
		if got.By != test.by || got.Contacts == nil || fmt.Sprint(got.Contacts) != fmt.Sprint(append([]presence.Rank{}, test.want...)) {
			t.Errorf("%s: by %s %+v, want %+v", query, got.By, got.Contacts, test.want)
		}
	}
	text := s.getAs(t, csvType, ofInstance+"/top?format=csv&by=visits&limit=2&"+firstOfOctober)
	if want := "phone,count,seconds,confirmedSeconds\r\nB,2,80,80\r\n5544999999999,1,420,120\r\n"; text != want {
		t.Errorf("as CSV:\n%s\nwant\n%s", text, want)
	}
}

func testHeatmap(t *testing.T, s *service) {
	for _, test := range []struct {
		query string
		want  string // weekday, hour, count, seconds and confirmed ones of all cells that are not 0
	}{
		{"", "4 10 h: 3, 465 s, 165 s; 4 11 h: 0, 60 s, 60 s; 4 12 h: 1, 10 s, 10 s"},
		{"measure=inChat&tz=America/Sao_Paulo", "4 7 h: 3, 465 s, 165 s; 4 8 h: 0, 60 s, 60 s; 4 9 h: 1, 10 s, 10 s"},
		{"tz=Asia/Kolkata", "4 15 h: 2, 455 s, 155 s; 4 16 h: 1, 70 s, 70 s; 4 17 h: 1, 10 s, 10 s"}, // hours begin at :30 UTC
		{"tz=Pacific/Kiritimati", "5 0 h: 3, 465 s, 165 s; 5 1 h: 0, 60 s, 60 s; 5 2 h: 1, 10 s, 10 s"},
		{"measure=typing", "4 10 h: 2, 70 s, 45 s"},
		{"measure=recording", "4 10 h: 1, 10 s, 0 s; 4 11 h: 0, 15 s, 0 s"},
	} {
		var got heatmap
		s.get(t, ofInstance+"/heatmap?"+firstOfOctober+"&"+test.query, &got)
		hot(t, test.query, got, test.want)
	}
	var got heatmap
	s.get(t, ofInstance+"/heatmap?measure=typing&tz=Asia/Kolkata&from=2026-10-01T10:00:20Z&to=2026-10-01T10:00:30Z", &got)
	hot(t, "cut", got, "4 15 h: 0, 20 s, 10 s")
	if got.TZ != "Asia/Kolkata" || got.Measure != "typing" || !got.To.Equal(at("2026-10-01T10:00:30Z")) {
		t.Errorf("a heat map of %+v", got)
	}
	rows := strings.Split(s.getAs(t, csvType, ofInstance+"/heatmap?format=csv&"+firstOfOctober), "\r\n")
	if len(rows) != 1+168+1 || rows[0] != "weekday,hour,count,seconds,confirmedSeconds" || rows[1] != "1,0,0,0,0" || rows[1+3*24+10] != "4,10,3,465,165" {
		t.Errorf("as CSV: %d rows, %q", len(rows), rows)
	}
}

func testContactHeatmap(t *testing.T, s *service) {
	for path, want := range map[string]string{
		"B/heatmap?":                            "4 10 h: 1, 10 s, 10 s; 4 11 h: 0, 60 s, 60 s; 4 12 h: 1, 10 s, 10 s",
		"B/heatmap?measure=recording&":          "4 10 h: 1, 10 s, 0 s; 4 11 h: 0, 15 s, 0 s",
		"B/heatmap?measure=typing&":             "",
		"D/heatmap?measure=typing&tz=UTC&":      "4 10 h: 1, 35 s, 35 s",
		"D/heatmap?tz=Asia/Kolkata&":            "4 15 h: 1, 35 s, 35 s",
		"5544999999999/heatmap?measure=inChat&": "4 10 h: 1, 420 s, 120 s",
		"5544999999999/heatmap?measure=typing&": "4 10 h: 1, 35 s, 10 s",
		"C/heatmap?tz=Pacific/Kiritimati&":      "",
	} {
		var got heatmap
		s.get(t, ofInstance+"/contacts/"+path+firstOfOctober, &got)
		hot(t, path, got, want)
	}
	text := s.getAs(t, csvType, ofInstance+"/contacts/B/heatmap?format=csv&"+firstOfOctober)
	if rows := strings.Split(text, "\r\n"); len(rows) != 1+168+1 || rows[1+3*24+10] != "4,10,1,10,10" {
		t.Errorf("as CSV: %d rows, %q", len(rows), rows)
	}
}

// Of the five Thursdays of October 2026, B comes on the first.
func testHabits(t *testing.T, s *service) {
	for query, want := range map[string]struct {
		weeks int
		share float64
		hours []int // on Thursdays
	}{
		"from=2026-10-01T00:00:00Z&to=2026-10-30T00:00:00Z":                 {5, 0.2, []int{10, 11, 12}},
		"from=2026-10-01T00:00:00Z&to=2026-10-09T00:00:00Z":                 {2, 0.5, []int{10, 11, 12}},
		"from=2026-10-01T00:00:00Z&to=2026-10-09T00:00:00Z&tz=Asia/Kolkata": {2, 0.5, []int{16, 17}}, // from 16:29:50 and from 17:30:00 on
		"from=2026-10-02T00:00:00Z&to=2026-10-09T00:00:00Z":                 {1, 0, nil},
	} {
		var got habits
		s.get(t, ofInstance+"/contacts/B/habits?"+query, &got)
		var cells []presence.Habit
		for i := range 7 * 24 {
			cell := presence.Habit{Weekday: 1 + i/24, Hour: i % 24}
			if cell.Weekday == 4 && slices.Contains(want.hours, cell.Hour) {
				cell.Share = want.share
			}
			cells = append(cells, cell)
		}
		best := slices.DeleteFunc(slices.Clone(cells), func(h presence.Habit) bool { return h.Share == 0 })
		if got.Weeks != want.weeks || !slices.Equal(got.Cells, cells) || !slices.Equal(got.Best, best) {
			t.Errorf("%s: %+v", query, got)
		}
	}
	text := s.getAs(t, csvType, ofInstance+"/contacts/B/habits?format=csv&from=2026-10-01T00:00:00Z&to=2026-10-09T00:00:00Z")
	if rows := strings.Split(text, "\r\n"); len(rows) != 1+168+1 || rows[0] != "weekday,hour,share" || rows[1+3*24+11] != "4,11,0.5" {
		t.Errorf("as CSV: %d rows, %q", len(rows), rows)
	}
}

// hot checks that a heat map has these cells, and nothing in all others.
func hot(t *testing.T, name string, got heatmap, want string) {
	t.Helper()
	var warm []string
	for i, c := range got.Cells {
		if c.Weekday != 1+i/24 || c.Hour != i%24 {
			t.Errorf("%s: cell %d is weekday %d, %d h", name, i, c.Weekday, c.Hour)
		}
		if c.Count != 0 || c.Seconds != 0 || c.ConfirmedSeconds != 0 {
			warm = append(warm, fmt.Sprintf("%d %d h: %d, %g s, %g s", c.Weekday, c.Hour, c.Count, c.Seconds, c.ConfirmedSeconds))
		}
	}
	if len(got.Cells) != 168 || strings.Join(warm, "; ") != want {
		t.Errorf("%s: %d cells, of them\n%q, want\n%q", name, len(got.Cells), warm, want)
	}
}

// TestHeatmapWhenClocksChange sums up weeks, and days on which the clock is put back and forward.
func TestHeatmapWhenClocksChange(t *testing.T) {
	t.Parallel()
	s := start(t)
	visit := func(from string, length time.Duration) string {
		return record("i", "p", "AVAILABLE", at(from)) + record("i", "p", "UNAVAILABLE", at(from).Add(length))
	}
	s.load(t, visit("2026-03-29T00:59:00Z", 2*time.Minute)+ // from 1:59 to 3:01
		visit("2026-10-18T00:35:00Z", 30*time.Second)+ // 2:35 a week before
		visit("2026-10-25T00:30:00Z", time.Minute)+ // 2:30 for the first time
		visit("2026-10-25T01:30:00Z", 2*time.Minute)) // and for the second
	var got heatmap
	s.get(t, ofInstance+"/heatmap?tz=Europe/Berlin&from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z", &got)
	hot(t, "back", got, "7 2 h: 3, 210 s, 210 s")
	s.get(t, ofInstance+"/heatmap?tz=Europe/Berlin&from=2026-03-28T00:00:00Z&to=2026-03-30T00:00:00Z", &got)
	hot(t, "forward", got, "7 1 h: 1, 60 s, 60 s; 7 3 h: 0, 60 s, 60 s")
}

func testCompareBadParameters(t *testing.T, s *service) {
	two := "/compare?phone=B&phone=D&"
	for _, test := range [][2]string{
		{"/compare", "query.phone"}, {"/compare?phone=B", "query.phone"},
		{"/compare?" + strings.Repeat("phone=B&", 101), "query.phone"},
		{two + "from=x", "query.from"}, {two + "to=x", "query.to"}, {two + "from=2026-10-02T00:00:00Z&to=2026-10-01T00:00:00Z", "query.from"},
		{two + "format=x", "query.format"},
		{"/heatmap?measure=visits", "query.measure"}, {"/heatmap?tz=Local", "query.tz"}, {"/heatmap?tz=x", "query.tz"},
		{"/heatmap?from=x", "query.from"}, {"/heatmap?format=x", "query.format"},
		{"/top?by=count", "query.by"}, {"/top?limit=0", "query.limit"}, {"/top?limit=1001", "query.limit"},
		{"/top?limit=1001&format=csv", "query.limit"}, {"/top?to=x", "query.to"}, {"/top?format=x", "query.format"},
	} {
		refusedFor(t, s.do(t, request(t, http.MethodGet, s.url+ofInstance+test[0], nil)), http.StatusUnprocessableEntity, test[1])
	}
	for _, phone := range []string{"x", "E", "B;D", "\xff", "<é>"} {
		p := refused(t, s.do(t, request(t, http.MethodGet, s.url+ofInstance+"/compare?phone=B&phone="+url.QueryEscape(phone), nil)), http.StatusNotFound)
		if !strings.Contains(p.Detail, fmt.Sprintf("%q", phone)) {
			t.Errorf("%q: %s", phone, p.Detail)
		}
	}
	for _, of := range []string{"/compare?phone=B&phone=D", "/heatmap", "/top", "/heatmap?format=csv"} {
		refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/instances/nobody"+of, nil)), http.StatusNotFound)
	}
}
