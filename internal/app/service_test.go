package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/simulate"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// service is a running presencelog with its own database.
type service struct {
	*app.App
	url      string
	database string
	pool     *pgxpool.Pool // the same database, past the service
	client   *http.Client
}

// start starts a service, by default one that needs no tokens.
func start(t testing.TB, change ...func(*app.Config)) *service {
	t.Helper()
	config := app.Config{
		Listen: "127.0.0.1:0", Database: pgtest.URL(t), Version: "v1.2.3", Streams: 100, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		AwayAfter: 20 * time.Second, // a busy machine may stop for some seconds while the database is up
	}
	for _, f := range change {
		f(&config)
	}
	a, err := app.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	pool, err := postgres.Connect(t.Context(), config.Database, "test", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	client := simulate.NewClient(64)
	t.Cleanup(client.CloseIdleConnections)
	return &service{App: a, url: "http://" + a.Addr.String(), database: config.Database, pool: pool, client: client}
}

// startOn starts another service on the database of one.
func startOn(t testing.TB, s *service) *service {
	t.Helper()
	return start(t, func(c *app.Config) { c.Database = s.database })
}

// response is an HTTP response, read to its end.
type response struct {
	*http.Response
	body []byte
}

func (s *service) do(t testing.TB, req *http.Request) response {
	t.Helper()
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res, body}
}

func request(t testing.TB, method, address string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// post sends a body to the receiver.
func (s *service) post(t testing.TB, body string) response {
	t.Helper()
	return s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi", strings.NewReader(body)))
}

// postID sends a body that the receiver is to store and returns the event's id.
func (s *service) postID(t testing.TB, body string) string {
	t.Helper()
	return idOf(t, s.post(t, body))
}

func idOf(t testing.TB, a response) string {
	t.Helper()
	var got map[string]string
	if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK || len(got) != 1 || got["id"] == "" {
		t.Fatalf("%s %s, want 200 and an id alone", a.Status, a.body)
	}
	if ct := a.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	return got["id"]
}

// get decodes the response of a path, which must exist, into v. Unknown fields are an error.
func (s *service) get(t testing.TB, path string, v any) {
	t.Helper()
	a := s.do(t, request(t, http.MethodGet, s.url+path, nil))
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET %s: %s, %s: %s", path, a.Status, a.Header.Get("Content-Type"), a.body)
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("GET %s: %v in %s", path, err, a.body)
	}
}

// refused reads a problem with the given status. It must say what is wrong, without internals.
func refused(t testing.TB, a response, status int) problem.Problem {
	t.Helper()
	var p problem.Problem
	err := json.Unmarshal(a.body, &p)
	if err != nil || a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s %s: %s, %s: %s; want %d and a problem (%v)",
			a.Request.Method, a.Request.URL, a.Status, a.Header.Get("Content-Type"), a.body, status, err)
	}
	if p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("the problem does not say what is wrong: %s", a.body)
	}
	for _, inside := range []string{"SQL", "postgres", "pgx", "huma", ".go:", "runtime", "panic", "json:", "jsontext", "goroutine", "test_"} {
		if strings.Contains(string(a.body), inside) {
			t.Errorf("the problem tells of %q: %s", inside, a.body)
		}
	}
	return p
}

// refusedFor is refused where one field or parameter is to blame.
func refusedFor(t testing.TB, a response, status int, location string) {
	t.Helper()
	p := refused(t, a, status)
	if len(p.Errors) != 1 || p.Errors[0].Location != location || p.Errors[0].Message == "" {
		t.Errorf("%s: the problem is %s; want it to name %s", a.Request.URL, a.body, location)
	}
	if _, name, _ := strings.Cut(location, "."); !strings.Contains(p.Detail, name) {
		t.Errorf("the detail %q does not name %s", p.Detail, name)
	}
}

// liveClients returns how many streams and waits the metrics count.
func (s *service) liveClients(t testing.TB) int {
	t.Helper()
	return s.metric(t, "presencelog_live_clients")
}

// metric returns the value of a metric without labels.
func (s *service) metric(t testing.TB, name string) (n int) {
	t.Helper()
	text := string(s.do(t, request(t, http.MethodGet, s.url+"/metrics", nil)).body)
	_, after, _ := strings.Cut(text, "\n"+name+" ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatalf("the metrics have no %s: %v", name, err)
	}
	return n
}

// load imports lines of NDJSON.
func (s *service) load(t testing.TB, lines string) {
	t.Helper()
	invalid := func(line int64, reason error) { t.Errorf("line %d: %v", line, reason) }
	if _, err := archive.Import(t.Context(), s.pool, strings.NewReader(lines), invalid, nil); err != nil {
		t.Fatal(err)
	}
}

// contactPath is where a contact is, names escaped: also dots, since "." and ".." would be steps in the path.
func contactPath(instance, phone string) string {
	escape := func(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }
	return "/v1/instances/" + escape(instance) + "/contacts/" + escape(phone)
}

func body(instance, phone, status string) string {
	b, err := json.Marshal(map[string]any{
		"type": "PresenceChatCallback", "instanceId": instance, "phone": phone, "status": status, "lastSeen": nil,
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func record(instance, phone, status string, receivedAt time.Time) string {
	return strings.TrimSuffix(body(instance, phone, status), "}") + `,"receivedAt":"` + receivedAt.Format(time.RFC3339Nano) + `"}` + "\n"
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

// The responses, as clients read them.
type (
	timeline struct {
		Spans      []presence.Span
		NextCursor *string
	}
	event struct {
		ID         string
		ReceivedAt time.Time
		Status     presence.Status
		LastSeen   *int64
		Extra      json.RawMessage
	}
	events struct {
		Events     []event
		NextCursor *string
	}
	contacts struct {
		Contacts   []presence.Contact
		NextCursor *string
	}
	instances struct {
		Instances  []presence.Instance
		NextCursor *string
	}
	durations struct {
		From, To   time.Time
		Bucket, TZ string
		Total      presence.Summary
		Buckets    []presence.Bucket
	}
)
