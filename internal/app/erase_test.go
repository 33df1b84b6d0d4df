package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/settings"
)

const erasedPhone = "5544911223344"

// dump returns all rows of all tables as text, rejected payloads also as they came, and the planner's statistics.
func (s *service) dump(t *testing.T) string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	var out strings.Builder
	for _, table := range tables {
		text := pgtest.Get[string](t, s.pool, "SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM "+table+" AS t")
		out.WriteString(text)
	}
	for _, sql := range []string{
		"SELECT coalesce(string_agg(encode(body, 'escape'), ' '), '') FROM rejected_payloads",
		"SELECT string_agg(s::text, ' ') FROM pg_stats AS s",
	} {
		text := pgtest.Get[string](t, s.pool, sql)
		out.WriteString(text)
	}
	return out.String()
}

// After an erasure nothing has the phone: not the database or the log. Others are untouched. Package faults looks into the files.
func TestErasureLeavesNoTrace(t *testing.T) {
	t.Parallel()
	var log pgtest.Output
	s := start(t, func(c *app.Config) {
		c.WebhookTokens, c.APITokens = []string{"hook"}, []string{"api"}
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	eraser, err := auth.Create(t.Context(), s.pool, auth.Token{Name: "eraser", Scopes: []auth.Scope{auth.Erase, auth.Read}})
	if err != nil {
		t.Fatal(err)
	}
	hook := func(b string) response {
		return s.do(t, request(t, http.MethodPost, s.url+"/webhooks/zapi/hook", strings.NewReader(b)))
	}
	past := presence.Now().Add(-48 * time.Hour)
	other := erasedPhone + "5" // which contains the phone
	lines := record("i", erasedPhone, "COMPOSING", past) + record("i", other, "COMPOSING", past) + record("j", "1", "AVAILABLE", past)
	s.load(t, lines)
	withExtra := strings.TrimSuffix(body("i", erasedPhone, "COMPOSING"), "}") + `,"participantPhone":"` + erasedPhone + `"}`
	idOf(t, hook(withExtra))
	idOf(t, hook(body("i", other, "COMPOSING")))
	refused(t, hook(body("i", erasedPhone, "LISTENING")), http.StatusUnprocessableEntity)
	refused(t, hook(body("i", other, "LISTENING")), http.StatusUnprocessableEntity)
	pgtest.Exec(t, s.pool, "ANALYZE")
	if before := s.dump(t); !strings.Contains(strings.ReplaceAll(before, other, ""), erasedPhone) {
		t.Fatal("the dump does not have the phone before")
	}

	call := func(method, token, query string) response {
		req := request(t, method, s.url+contactPath("i", erasedPhone)+query, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		return s.do(t, req)
	}
	refused(t, call(http.MethodDelete, "api", ""), http.StatusForbidden)
	var result erasure.Result
	if a := call(http.MethodDelete, eraser, ""); a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &result) != nil || result != (erasure.Result{Contacts: 1, Events: 2, Rejected: 1}) {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	refused(t, call(http.MethodGet, eraser, ""), http.StatusNotFound)
	refused(t, call(http.MethodDelete, eraser, ""), http.StatusNotFound)
	clean := func(when string) {
		t.Helper()
		for place, content := range map[string]string{"the database": s.dump(t), "the log": log.String()} {
			if strings.Contains(strings.ReplaceAll(content, other, ""), erasedPhone) {
				t.Errorf("%s: %s has the phone", when, place)
			}
		}
	}
	clean("after the erasure")

	// An old backup does not bring it back; new events are collected again.
	count, err := archive.Import(t.Context(), s.pool, strings.NewReader(lines), nil, nil)
	if err != nil || count.Erased != 1 || count.Duplicates != 2 {
		t.Errorf("%+v, %v", count, err)
	}
	clean("after importing a backup")
	for _, phone := range []string{other, erasedPhone} {
		idOf(t, hook(body("i", phone, "COMPOSING")))
	}
	if a := call(http.MethodGet, eraser, "/events"); a.StatusCode != http.StatusOK || bytes.Count(a.body, []byte(`"id"`)) != 1 {
		t.Errorf("after a new event: %s %s", a.Status, a.body)
	}

	// Blocked, it is not.
	for _, query := range []string{"?block", "?block=", "?block=yes"} {
		if p := refused(t, call(http.MethodDelete, eraser, query), http.StatusUnprocessableEntity); p.Errors[0].Location != "query.block" {
			t.Errorf("%s: %+v", query, p)
		}
	}
	if a := call(http.MethodDelete, eraser, "?block=true"); a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	pgtest.Eventually(t, "a blocked contact is not collected", func() bool {
		return strings.Contains(string(hook(body("i", erasedPhone, "COMPOSING")).body), "ignored")
	})
	if a := call(http.MethodDelete, eraser, "?block=true"); a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	idOf(t, hook(body("i", other, "COMPOSING")))
	clean("after it was blocked")
	var contacts, events, audits int
	if err := s.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM events), (SELECT count(*) FROM erasures)").Scan(&contacts, &events, &audits); err != nil {
		t.Fatal(err)
	}
	if contacts != 2 || events != 5 || audits != 4 {
		t.Errorf("%d contacts with %d events are left, %d audits", contacts, events, audits)
	}
}

// While a contact's events come in, its erasure leaves none that nobody can find, and loses none of others.
func TestErasureUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t)
	var stored atomic.Int64 // of the other contact
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, phone := range []string{"p", "q"} {
				if a := s.post(t, body("i", phone, "COMPOSING")); a.StatusCode == http.StatusOK && phone == "q" {
					stored.Add(1)
				}
			}
		}
	}()
	var erased int64
	for range 5 {
		before := stored.Load()
		pgtest.Eventually(t, "events of both come in", func() bool { return stored.Load() >= before+2 })
		result, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", Phone: "p", By: "test"})
		if err != nil {
			t.Error(err)
		}
		erased += result.Events
	}
	close(stop)
	<-ended
	if erased == 0 {
		t.Error("nothing was erased")
	}
	var orphans, others int
	if err := s.pool.QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM events AS e WHERE NOT EXISTS (SELECT FROM contacts AS c WHERE c.id = e.contact_id)),
		(SELECT count(*) FROM events AS e INNER JOIN contacts AS c ON c.id = e.contact_id WHERE c.phone = 'q')`).Scan(&orphans, &others); err != nil {
		t.Fatal(err)
	}
	if orphans != 0 || int64(others) != stored.Load() {
		t.Errorf("%d events without a contact; %d of another contact of %d", orphans, others, stored.Load())
	}
}

// A service that does not know of the erasure yet stores events of the contact for a moment. They are deleted too.
func TestBlockedContactsStayErasedUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "p", "COMPOSING"))
	erased := make(chan error)
	go func() {
		_, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", Phone: "p", Block: true, By: "test"})
		erased <- err
	}()
	for ignored, done := false, false; !ignored || !done; {
		ignored = strings.Contains(string(s.post(t, body("i", "p", "COMPOSING")).body), "ignored")
		select {
		case err := <-erased:
			if done = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	s.post(t, body("i", "p", "LISTENING")) // an event of a later version
	if list := rejectedPayloads(t, s); len(list) != 0 {
		t.Errorf("rejected payloads: %+v", list)
	}
	var contacts, events int
	if err := s.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM events)`).Scan(&contacts, &events); err != nil {
		t.Fatal(err)
	}
	if contacts != 0 || events != 0 {
		t.Errorf("%d contacts, %d events are left", contacts, events)
	}
}

func TestInstancesAreErased(t *testing.T) {
	t.Parallel()
	s := start(t)
	at := presence.Now().Add(-time.Hour)
	s.load(t, record("i", "1", "COMPOSING", at)+record("i", "2", "COMPOSING", at)+record("j", "1", "COMPOSING", at))
	result, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", By: "test"})
	if err != nil || result.Contacts != 2 || result.Events != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	var got instances
	s.get(t, "/v1/instances", &got)
	if len(got.Instances) != 1 || got.Instances[0].InstanceID != "j" {
		t.Errorf("%+v", got)
	}
	s.postID(t, body("i", "1", "COMPOSING")) // it may begin again
}

// A service that does not know of an erasure yet may queue a message to a hook.
func TestEraseDeletesMessagesThatAreQueuedMeanwhile(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	pgtest.Exec(t, pool, "INSERT INTO hooks (url, secret, kinds, instances, private) VALUES ('https://example.org', '', '{}', '{}', false)")
	e := presence.Event{InstanceID: "i", Phone: "5544", Status: presence.Composing, ReceivedAt: presence.Now()}
	if err := ingest.NewStore(pool).Write(t.Context(), []presence.Event{e}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := erasure.Erase(t.Context(), pool, erasure.Request{InstanceID: "i", Phone: "5544"})
		done <- err
	}()
	pgtest.Eventually(t, "the contact is gone", func() bool { return len(pgtest.Strings(t, pool, "SELECT phone FROM contacts")) == 0 })
	time.Sleep(600 * time.Millisecond) // services read the list of erasures twice a second
	pgtest.Exec(t, pool, `INSERT INTO hook_deliveries (hook_id, id, body) SELECT id, 'x', '{"instanceId":"i","phone":"5544"}' FROM hooks`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := pgtest.Strings(t, pool, "SELECT body FROM hook_deliveries"); len(left) > 0 {
		t.Errorf("there is still %v", left)
	}
}

func TestSubjectReportHasEverything(t *testing.T) {
	t.Parallel()
	s := start(t)
	past := presence.Now().Add(-48 * time.Hour)
	s.load(t, record("i", "5544", "COMPOSING", past)+record("i", "5545", "COMPOSING", past))
	refused(t, s.post(t, body("i", "5544", "LISTENING")), http.StatusUnprocessableEntity)
	r, err := erasure.ReportOn(t.Context(), s.pool, "i", "5544", presence.Now())
	if err != nil || len(r.Events) != 1 || len(r.Spans) != 3 || len(r.Rejected) != 1 || r.Retention != "forever" || r.Origin == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if err := settings.Set(t.Context(), s.pool, "", "retention", "1d"); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "retention runs, after that of the service", func() bool {
		_, err := retention.Run(t.Context(), s.pool, presence.Now())
		if err != nil && !errors.Is(err, postgres.ErrBusy) {
			t.Fatal(err)
		}
		return err == nil
	})
	r, err = erasure.ReportOn(t.Context(), s.pool, "i", "5544", presence.Now())
	if err != nil || len(r.Events) > 0 || len(r.Intervals) != 2 || r.Retention != "1d" || r.IntervalRetention != "forever" {
		t.Errorf("without events: %+v, %v", r, err)
	}
	var missing *history.NotFoundError
	_, err = erasure.ReportOn(t.Context(), s.pool, "i", "nobody", presence.Now())
	if !errors.As(err, &missing) || missing.Phone != "nobody" {
		t.Errorf("a report on nobody: %v", err)
	}
}

// Events in a spool do not return after their contact is erased.
func TestSpoolDoesNotBringErasedContactsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spooled := func(c *app.Config) { c.SpoolDir, c.SpoolBytes = dir, 1<<20 }
	a, err := app.Start(t.Context(), app.Config{
		Listen: "127.0.0.1:0", Database: "host=127.0.0.1 port=1 connect_timeout=1", SpoolDir: dir, SpoolBytes: 1 << 20, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, phone := range []string{"p", "q"} {
		res, err := http.Post("http://"+a.Addr.String()+"/webhooks/zapi", "application/json", strings.NewReader(body("i", phone, "COMPOSING")))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", phone, res.Status)
		}
	}
	a.Stop()
	other := start(t)
	if _, err := erasure.Erase(t.Context(), other.pool, erasure.Request{InstanceID: "i", Phone: "p", By: "test"}); err != nil {
		t.Fatal(err)
	}
	s := start(t, spooled, func(c *app.Config) { c.Database = other.database })
	count := func(phone string) int {
		return pgtest.Get[int](t, s.pool, "SELECT count(*) FROM contacts WHERE phone = $1", phone)
	}
	pgtest.Eventually(t, "the spool is drained", func() bool { return count("q") == 1 })
	if count("p") != 0 {
		t.Error("the erased contact has come back")
	}
}
