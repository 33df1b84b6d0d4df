package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// FuzzCursor sends forged cursors to every list: the response is a page or 422.
func FuzzCursor(f *testing.F) {
	pool := pgtest.New(f)
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	var events []presence.Event
	for i := range 24 { // of each contact four, of two statuses
		events = append(events, presence.Event{
			InstanceID: fmt.Sprint("i", i%2), Phone: fmt.Sprint("p", i/2%3), Status: presence.Statuses()[i/6%2*2],
			ReceivedAt: now.Add(-time.Duration(i/6+1) * time.Second),
		})
	}
	if _, err := ingest.NewStore(pool).Merge(f.Context(), events); err != nil {
		f.Fatal(err)
	}
	clock := func() time.Time { return now }
	mux := http.NewServeMux()
	log := slog.New(slog.NewTextHandler(f.Output(), nil))
	authenticator := auth.New(auth.Config{Pool: pool, APITokens: []string{"token"}, Log: log, Now: clock})
	api.Register(mux, api.Config{
		History: history.NewReader(pool, clock), Auth: authenticator, Log: log, Now: clock,
	})
	get := func(address string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, address, nil)
		r.Header.Set("Authorization", "Bearer token")
		mux.ServeHTTP(w, r)
		return w
	}
	lists := []string{
		"/v1/instances?", "/v1/instances/i0/contacts?", "/v1/instances/i0/contacts?status=COMPOSING,AVAILABLE&search=p&",
		"/v1/instances/i0/contacts/p0/timeline?", "/v1/instances/i0/contacts/p0/events?", "/v1/instances/i0/contacts/p0/events?order=desc&",
	}
	for i, list := range lists {
		var page struct{ NextCursor *string }
		w := get(list + "limit=1")
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK {
			f.Fatalf("%s: %d %s", list, w.Code, w.Body)
		}
		if page.NextCursor == nil {
			f.Fatalf("%s is too short for a cursor: %s", list, w.Body)
		}
		b, err := base64.RawURLEncoding.DecodeString(*page.NextCursor)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), true, string(b))
		f.Add(uint8(i), false, *page.NextCursor)
	}
	f.Add(uint8(0), true, `{"l":["instances"],"n":"\u0000"}`)
	f.Add(uint8(3), true, `{"l":["timeline","i0","p0"],"r":{"From":"0000-01-01T00:00:00Z","To":"9999-12-31T23:59:59.999999999+23:59"},"a":"0001-01-01T00:00:00-23:59"}`)
	f.Add(uint8(4), true, `{"l":["events","i0","p0","asc"],"r":{"From":"2026-10-01T00:00:00Z","To":"2026-10-02T00:00:00Z"},"a":"9999-12-31T23:59:59Z","s":-32768}`)
	f.Fuzz(func(t *testing.T, list uint8, encode bool, cursor string) {
		if encode {
			cursor = base64.RawURLEncoding.EncodeToString([]byte(cursor))
		}
		address := lists[int(list)%len(lists)] + "limit=2&cursor=" + url.QueryEscape(cursor)
		w := get(address)
		if w.Code != http.StatusOK && w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s with the cursor %q: %d %s", address, cursor, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s", address, w.Body)
		}
	})
}
