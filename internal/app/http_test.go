package app

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/metrics"
)

func TestPanicIsLoggedAndHidden(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := &App{log: slog.New(slog.NewTextHandler(&log, nil)), meter: metrics.New()}
	mux := http.NewServeMux()
	mux.HandleFunc("/early", func(http.ResponseWriter, *http.Request) { panic("secret") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "some")
		http.NewResponseController(w).Flush()
		panic("secret")
	})
	server := httptest.NewUnstartedServer(a.observe(mux))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	defer server.Close()

	res, err := http.Get(server.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "secret") {
		t.Errorf("a panic before the response: %s: %s (%v)", res.Status, body, err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "route=/early") || !strings.Contains(log.String(), "http_test.go") {
		t.Errorf("the log is %s", &log)
	}

	late, err := http.Get(server.URL + "/late")
	if err != nil {
		t.Fatal(err)
	}
	defer late.Body.Close()
	if body, err := io.ReadAll(late.Body); err == nil {
		t.Errorf("a response cut by a panic ends as if it were whole: %q", body)
	}

	scrape := httptest.NewRecorder()
	a.meter.Handler().ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`presencelog_http_requests_total{method="GET",route="/early",status="500"} 1`,
		`presencelog_http_requests_total{method="GET",route="/late",status="200"} 1`,
	} {
		if !strings.Contains(scrape.Body.String(), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
