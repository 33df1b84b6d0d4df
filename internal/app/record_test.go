package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

func TestCallbacksBecomeHistory(t *testing.T) {
	t.Parallel()
	s := start(t)
	order := []presence.Status{presence.Available, presence.Composing, presence.Paused, presence.Recording, presence.Unavailable}
	before := presence.Now()
	var ids []string
	for i, status := range order {
		e := presence.Event{InstanceID: "instance.id", Phone: "5544999999999", Status: status}
		if status == presence.Unavailable {
			e.LastSeen = new(int64(1763800000))
		}
		req, err := simulate.Request(t.Context(), s.url+"/webhooks/zapi", "token of Z-API", e)
		if err != nil {
			t.Fatal(err)
		}
		a := s.do(t, req)
		ids = append(ids, idOf(t, a))
		if a.Proto != "HTTP/1.1" {
			t.Errorf("callback %d got a response in %s", i, a.Proto)
		}
	}
	path := contactPath("instance.id", "5544999999999")

	var got events
	s.get(t, path+"/events", &got)
	if len(got.Events) != len(order) || got.NextCursor != nil {
		t.Fatalf("events %+v", got)
	}
	for i, e := range got.Events {
		seen := "null"
		if order[i] == presence.Unavailable {
			seen = "1763800000"
		}
		lastSeen, _ := json.Marshal(e.LastSeen)
		if e.ID != ids[i] || e.Status != order[i] || string(lastSeen) != seen || string(e.Extra) != "null" ||
			e.ReceivedAt.Before(before) || e.ReceivedAt.After(presence.Now()) || e.ReceivedAt.Location() != time.UTC {
			t.Errorf("event %d is %+v, want %s with the id %s and lastSeen %s", i, e, order[i], ids[i], seen)
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("ids %v do not sort as they came", ids)
	}
	first, last := got.Events[0].ReceivedAt, got.Events[len(order)-1].ReceivedAt

	var spans timeline
	s.get(t, path+"/timeline", &spans)
	if len(spans.Spans) != len(order) {
		t.Fatalf("spans %+v", spans)
	}
	for i, span := range spans.Spans {
		open := i == len(order)-1
		if span.Status != order[i] || !span.Start.Equal(got.Events[i].ReceivedAt) || span.Events != 1 ||
			(span.End == nil) != open || (span.EndedBy == presence.Open) != open ||
			!open && (!span.End.Equal(got.Events[i+1].ReceivedAt) || span.EndedBy != presence.ByEvent || span.Seconds != span.ConfirmedSeconds) {
			t.Errorf("span %d: %+v", i, span)
		}
	}

	for _, path := range []string{path, "/v1/instances/instance.id"} {
		var d durations
		s.get(t, path+"/durations", &d)
		if d.Total.Typing.Count != 1 || d.Total.Recording.Count != 1 || d.Total.InChat.Count != 1 || len(d.Buckets) != 0 || d.Buckets == nil ||
			d.Total.Typing.Seconds != spans.Spans[1].Seconds || d.Total.Recording.Seconds != spans.Spans[3].Seconds ||
			math.Abs(d.Total.InChat.Seconds-last.Sub(first).Seconds()) > 1e-9 || d.Bucket != "none" || d.TZ != "UTC" {
			t.Errorf("durations of %s: %+v", path, d)
		}
	}

	want := presence.Contact{Phone: "5544999999999", Status: presence.Unavailable, Since: last, FirstEventAt: first, LastEventAt: last}
	same := func(c presence.Contact) bool {
		w := want
		w.Now = c.Now
		return c == w && !c.Now.Before(last)
	}
	var contact presence.Contact
	s.get(t, path, &contact)
	var list contacts
	s.get(t, "/v1/instances/instance.id/contacts", &list)
	if !same(contact) || len(list.Contacts) != 1 || !same(list.Contacts[0]) || list.NextCursor != nil {
		t.Errorf("contact %+v, list %+v, want %+v", contact, list, want)
	}
	var in instances
	s.get(t, "/v1/instances", &in)
	if len(in.Instances) != 1 || in.Instances[0] != (presence.Instance{InstanceID: "instance.id", FirstEventAt: first, LastEventAt: last}) {
		t.Errorf("instances %+v", in)
	}
}

func testUnknownFieldsAndLastSeen(t *testing.T, s *service) {
	deep := strings.Repeat("[", 63) + strings.Repeat("]", 63)
	for i, test := range []struct{ fields, lastSeen, extra string }{
		{``, "null", "null"},
		{`"lastSeen":null`, "null", "null"},
		{`"lastSeen":0`, "0", "null"},
		{`"lastSeen":-1`, "-1", "null"},
		{`"lastSeen":1763800000123`, "1763800000123", "null"},
		{`"lastSeen":9223372036854775807`, "9223372036854775807", "null"},
		{`"lastSeen":-9223372036854775808`, "-9223372036854775808", "null"},
		{`"isGroup":false, "photo" : null`, "null", `{"isGroup":false,"photo":null}`},
		{`"n":1.50e+3,"big":123456789012345678901234567890`, "null", `{"n":1.50e+3,"big":123456789012345678901234567890}`},
		{`"s":"\ud83d\ude00 \" \\ / é"`, "null", `{"s":"\ud83d\ude00 \" \\ / é"}`},
		{`"a\u0000":"\u0000\\u0000"`, "null", `{"a\ufffd":"\ufffd\\u0000"}`}, // PostgreSQL could not read it again
		{`"Phone":"other","STATUS":1`, "null", `{"Phone":"other","STATUS":1}`},
		{`"":{},"a.b":[]`, "null", `{"":{},"a.b":[]}`},
		{`"braces":"}{][","quote":"\"}"`, "null", `{"braces":"}{][","quote":"\"}"}`},
		{`"deep":` + deep, "null", `{"deep":` + deep + `}`},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			phone := fmt.Sprint("phone", i)
			fields := test.fields
			if fields != "" {
				fields = "," + fields
			}
			id := s.postID(t, `{"type":"PresenceChatCallback","instanceId":"extra","phone":"`+phone+`","status":"PAUSED"`+fields+`}`)
			var got events
			s.get(t, contactPath("extra", phone)+"/events", &got)
			if len(got.Events) != 1 || got.Events[0].ID != id {
				t.Fatalf("events %+v", got)
			}
			lastSeen, _ := json.Marshal(got.Events[0].LastSeen)
			if string(lastSeen) != test.lastSeen || string(got.Events[0].Extra) != test.extra {
				t.Errorf("lastSeen %s, extra %s, want %s and %s", lastSeen, got.Events[0].Extra, test.lastSeen, test.extra)
			}
		})
	}
}

// An export has every field, also those with a name that the export itself uses, so that importing it adds nothing.
func TestExportsHaveEveryField(t *testing.T) {
	t.Parallel()
	s, other := start(t), pgtest.New(t)
	const extra = `{"z":1,"received\u0041t":"yesterday","$extra":[2],"a":{"receivedAt":3}}`
	s.postID(t, strings.Replace(body("i", "p", "PAUSED"), "{", extra[:len(extra)-1]+",", 1))
	s.postID(t, strings.Replace(body("i", "q", "PAUSED"), "{", `{"$extra":{"receivedAt":4},`, 1))
	var lines bytes.Buffer
	if _, err := archive.Export(t.Context(), s.pool, &lines, archive.Selection{}, nil); err != nil {
		t.Fatal(err)
	}
	invalid := func(line int64, reason error) { t.Errorf("line %d: %v", line, reason) }
	for pool, want := range map[*pgxpool.Pool]archive.Imported{s.pool: {Duplicates: 2}, other: {Added: 2}} {
		if got, err := archive.Import(t.Context(), pool, bytes.NewReader(lines.Bytes()), invalid, nil); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v of\n%s", got, err, want, lines.String())
		}
	}
	want := []string{`{"$extra":{"receivedAt":4}}`, extra}
	if got := pgtest.Strings(t, other, "SELECT extra::text FROM events ORDER BY octet_length(extra::text)"); !slices.Equal(got, want) {
		t.Errorf("the fields are\n%q, want\n%q", got, want)
	}
}

func testEveryNameHasItsAddress(t *testing.T, s *service) {
	names := []string{
		"5544999999999", "123456789012345@lid", "120363019502650977-group", "+55 44 99999-9999", "a/b", "//", "a%2Fb", "100%",
		"%", "?", "#", "a?b=c&d#e", `"quoted"`, "it's", `back\slash`, "é", "😀🎉", "日本", "..", ".", "../..", "a b", " ", "\t\n", ";,:@&=+$",
		"<script>", "' OR 1=1 --", "\u202e", "null", "contacts", "timeline", strings.Repeat("9", 128), strings.Repeat("é", 64),
	}
	for _, name := range names {
		for _, contact := range [][2]string{{"instance", name}, {name, "phone"}} {
			t.Run(fmt.Sprintf("%q", contact), func(t *testing.T) {
				t.Parallel()
				id := s.postID(t, body(contact[0], contact[1], "COMPOSING"))
				path := contactPath(contact[0], contact[1])
				var c presence.Contact
				s.get(t, path, &c)
				var e events
				s.get(t, path+"/events", &e)
				var spans timeline
				s.get(t, path+"/timeline", &spans)
				var d durations
				s.get(t, path+"/durations", &d)
				if c.Phone != contact[1] || len(e.Events) != 1 || e.Events[0].ID != id || len(spans.Spans) != 1 || d.Total.Typing.Count != 1 {
					t.Errorf("contact %+v, events %+v, timeline %+v, durations %+v", c, e, spans, d)
				}
			})
		}
	}
}

func testOtherCallbacks(t *testing.T, s *service) {
	for _, kind := range []string{"DeliveryCallback", "MessageStatusCallback", "PresenceCallback", "new", ""} {
		a := s.post(t, `{"type":"`+kind+`","instanceId":"ignored","phone":"p","text":{"message":"hi"},"momment":1580163342}`)
		if want := `{"ignored":"` + kind + `"}`; a.StatusCode != http.StatusOK || strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%q: %s %s, want %s", kind, a.Status, a.body, want)
		}
	}
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/instances/ignored/contacts", nil)), http.StatusNotFound) // nothing is stored
}

func TestMonthsWithoutAPartitionAreStored(t *testing.T) {
	t.Parallel()
	s := start(t)
	var lines strings.Builder
	var want []time.Time
	for month := range 14 {
		begin := time.Date(2019, time.December+time.Month(month), 1, 0, 0, 0, 0, time.UTC)
		for _, moment := range []time.Time{begin, begin.Add(-time.Microsecond)} {
			lines.WriteString(record("i", "p", "AVAILABLE", moment))
			want = append(want, moment)
		}
	}
	s.load(t, lines.String())
	slices.SortFunc(want, time.Time.Compare)
	var got events
	s.get(t, contactPath("i", "p")+"/events?from=2019-01-01T00:00:00Z&to=2021-12-31T00:00:00Z", &got)
	var moments []time.Time
	for _, e := range got.Events {
		moments = append(moments, e.ReceivedAt)
	}
	if !slices.EqualFunc(moments, want, time.Time.Equal) {
		t.Errorf("events at %v, want %v", moments, want)
	}
}
