package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestReceiver runs tests that need not be alone beside each other on one service.
func TestReceiver(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, test := range map[string]func(*testing.T, *service){
		"BadCallbacks":             testBadCallbacks,
		"BodyOf64KiB":              testBodyOf64KiB,
		"TruncatedBody":            testTruncatedBody,
		"OtherMediaTypes":          testOtherMediaTypes,
		"OtherMethods":             testOtherMethods,
		"UnknownPaths":             testUnknownPaths,
		"UnknownFieldsAndLastSeen": testUnknownFieldsAndLastSeen,
		"OtherCallbacks":           testOtherCallbacks,
		"EveryNameHasItsAddress":   testEveryNameHasItsAddress,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func testBadCallbacks(t *testing.T, s *service) {
	// with returns a valid body with one field replaced, or omitted for "".
	with := func(field, value string) string {
		fields := []string{"type", `"PresenceChatCallback"`, "instanceId", `"bad"`, "phone", `"5544"`, "status", `"COMPOSING"`, "lastSeen", "null"}
		var parts []string
		for i := 0; i < len(fields); i += 2 {
			v := fields[i+1]
			if fields[i] == field {
				v = value
			}
			if v != "" {
				parts = append(parts, fmt.Sprintf("%q:%s", fields[i], v))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	nested := func(depth int) string {
		return with("lastSeen", `null,"x":`+strings.Repeat("[", depth)+strings.Repeat("]", depth))
	}
	t.Run("all", func(t *testing.T) {
		for _, test := range []struct {
			name, body string
			status     int
			location   string
		}{
			{"empty", "", 400, "body"},
			{"blank", " \n\t", 400, "body"},
			{"malformed", `{"type":`, 400, "body"},
			{"text", "type=PresenceChatCallback", 400, "body"},
			{"two objects", with("", "") + with("", ""), 400, "body"},
			{"array", "[" + with("", "") + "]", 400, "body"},
			{"null", "null", 400, "body"},
			{"string", `"PresenceChatCallback"`, 400, "body"},
			{"number", "1", 400, "body"},
			{"comment", "{/**/}", 400, "body"},
			{"trailing comma", `{"type":"PresenceChatCallback",}`, 400, "body"},
			{"single quotes", `{'type':'PresenceChatCallback'}`, 400, "body"},
			{"NaN", with("lastSeen", "NaN"), 400, "body"},
			{"byte order mark", "\ufeff" + with("", ""), 400, "body"},
			{"NUL", "\x00", 400, "body"},
			{"invalid UTF-8 in phone", with("phone", "\"\xff\""), 400, "body"},
			{"invalid UTF-8 elsewhere", with("lastSeen", "null,\"\xc3\":1"), 400, "body"},
			{"half a surrogate", with("phone", `"\ud800"`), 400, "body"},
			{"duplicate phone", with("phone", `"1","phone":"2"`), 400, "body"},
			{"duplicate unknown field", with("lastSeen", `null,"x":1,"x":2`), 400, "body"},
			{"duplicate escaped", with("phone", `"1","\u0070hone":"2"`), 400, "body"},
			{"duplicate deep inside", with("lastSeen", `null,"x":[{"a":1,"a":2}]`), 400, "body"},
			{"nested too deep", nested(64), 422, "body"},
			{"nested far too deep", nested(30000), 400, "body"},

			{"type missing", with("type", ""), 422, "body.type"},
			{"type null", with("type", "null"), 422, "body.type"},
			{"type a number", with("type", "1"), 422, "body.type"},
			{"empty object", "{}", 422, "body.type"},
			{"status unknown", with("status", `"LISTENING"`), 422, "body.status"},
			{"status in small letters", with("status", `"composing"`), 422, "body.status"},
			{"status empty", with("status", `""`), 422, "body.status"},
			{"status NUL", with("status", `"\u0000"`), 422, "body.status"},
			{"status missing", with("status", ""), 422, "body.status"},
			{"status null", with("status", "null"), 422, "body.status"},
			{"status an object", with("status", "{}"), 422, "body.status"},
			{"status long", with("status", `"`+strings.Repeat("é", 3000)+`"`), 422, "body.status"},
			{"phone a number", with("phone", "5544"), 422, "body.phone"},
			{"phone null", with("phone", "null"), 422, "body.phone"},
			{"phone missing", with("phone", ""), 422, "body.phone"},
			{"phone empty", with("phone", `""`), 422, "body.phone"},
			{"phone of 129 bytes", with("phone", `"`+strings.Repeat("1", 129)+`"`), 422, "body.phone"},
			{"phone of 130 bytes, 65 letters", with("phone", `"`+strings.Repeat("é", 65)+`"`), 422, "body.phone"},
			{"phone with NUL", with("phone", `"55\u000044"`), 422, "body.phone"},
			{"phone an array", with("phone", `["5544"]`), 422, "body.phone"},
			{"phone true", with("phone", "true"), 422, "body.phone"},
			{"instanceId a number", with("instanceId", "1"), 422, "body.instanceId"},
			{"instanceId null", with("instanceId", "null"), 422, "body.instanceId"},
			{"instanceId missing", with("instanceId", ""), 422, "body.instanceId"},
			{"instanceId empty", with("instanceId", `""`), 422, "body.instanceId"},
			{"instanceId of 129 bytes", with("instanceId", `"`+strings.Repeat("1", 129)+`"`), 422, "body.instanceId"},
			{"instanceId with NUL", with("instanceId", `"\u0000"`), 422, "body.instanceId"},
			{"lastSeen a string", with("lastSeen", `"1763800000"`), 422, "body.lastSeen"},
			{"lastSeen a float", with("lastSeen", "1763800000.5"), 422, "body.lastSeen"},
			{"lastSeen with an exponent", with("lastSeen", "1e9"), 422, "body.lastSeen"},
			{"lastSeen huge", with("lastSeen", "9223372036854775808"), 422, "body.lastSeen"},
			{"lastSeen a thousand digits", with("lastSeen", strings.Repeat("9", 1000)), 422, "body.lastSeen"},
			{"names that NUL tells apart", with("lastSeen", `null,"a\u0000":1,"a\ufffd":2`), 422, "body"},
			{"lastSeen an object", with("lastSeen", "{}"), 422, "body.lastSeen"},
			{"lastSeen false", with("lastSeen", "false"), 422, "body.lastSeen"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				refusedFor(t, s.post(t, test.body), test.status, test.location)
			})
		}
	})
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/instances/bad/contacts", nil)), http.StatusNotFound) // nothing is stored
}

func testBodyOf64KiB(t *testing.T, s *service) {
	sized := func(size int) string {
		head := strings.TrimSuffix(body("sized", "p", "COMPOSING"), "}") + `,"x":"`
		return head + strings.Repeat("x", size-len(head)-2) + `"}`
	}
	for _, chunked := range []bool{false, true} {
		for _, test := range []struct{ size, status int }{{64 << 10, 200}, {64<<10 + 1, 413}, {65 << 10, 413}, {200 << 10, 413}} {
			t.Run(fmt.Sprint(chunked, test.size), func(t *testing.T) {
				t.Parallel()
				var r io.Reader = strings.NewReader(sized(test.size))
				if chunked {
					r = io.MultiReader(r) // whose length the client cannot tell
				}
				a := s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi", r))
				if test.status == http.StatusOK {
					idOf(t, a)
				} else {
					refusedFor(t, a, test.status, "body")
				}
			})
		}
	}
}

func testTruncatedBody(t *testing.T, s *service) {
	for _, head := range []string{"Content-Length: 1000\r\n\r\n{\"type\"", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"typ"} {
		conn, err := net.Dial("tcp", s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /webhooks/zapi HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s", head)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		req := request(t, http.MethodPost, s.url, nil)
		res, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		refused(t, response{res, b}, http.StatusBadRequest)
	}
}

func testOtherMediaTypes(t *testing.T, s *service) {
	for contentType, status := range map[string]int{
		"": 415, "application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200, "application/vnd.zapi+json": 200,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415, "application/xml": 415, "json": 415, ";": 415,
	} {
		req := request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body("media", "p", "COMPOSING")))
		req.Header.Set("Content-Type", contentType)
		if contentType == "" {
			req.Header.Del("Content-Type")
		}
		if a := s.do(t, req); status == http.StatusOK {
			idOf(t, a)
		} else {
			refusedFor(t, a, status, "header.Content-Type")
		}
	}
}

func testOtherMethods(t *testing.T, s *service) {
	id := s.postID(t, body("m", "p", "COMPOSING"))
	for path, allow := range map[string]string{
		"/webhooks/zapi": "POST", "/webhooks/zapi/token": "POST", "/healthz": "GET", "/readyz": "GET", "/openapi.json": "GET",
		"/mcp": "POST", "/v1/instances": "GET", "/v1/instances/m/contacts": "GET", "/v1/instances/m/contacts/p": "DELETE, GET", "/v1/instances/m/durations": "GET",
		"/v1/instances/m/contacts/p/timeline": "GET", "/v1/instances/m/contacts/p/durations": "GET", "/v1/instances/m/contacts/p/events": "GET",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			a := s.do(t, request(t, method, s.url+path, nil))
			refused(t, a, http.StatusMethodNotAllowed)
			if got := a.Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
			}
		}
	}
	var got events
	s.get(t, "/v1/instances/m/contacts/p/events", &got)
	if len(got.Events) != 1 || got.Events[0].ID != id {
		t.Errorf("events %+v", got)
	}
}

func testUnknownPaths(t *testing.T, s *service) {
	s.postID(t, body("i", "p", "COMPOSING"))
	for _, path := range []string{
		"/assets/", "/now", "/v1", "/v1/", "/v2/instances", "/webhooks", "/webhooks/", "/webhooks/zapi/", "/webhooks/zapi/a/b", "/webhooks/nobody",
		"/openapi.yaml", "/openapi", "/schemas/x.json", "/.git/config", "/v1/instances/", "/v1/instances/i", "/v1/instances/i/contacts/p/",
		"/v1/instances/i/contacts/p/spans", "/v1/instances/i/contacts/p/timeline/x", "/v1/Instances", "/debug/pprof/",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			refused(t, s.do(t, request(t, method, s.url+path, nil)), http.StatusNotFound)
		}
	}
}
