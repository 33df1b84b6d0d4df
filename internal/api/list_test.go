package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// A stream may last longer than the write timeout, as long as the client reads each page in time.
func TestStreamOutlastsWriteTimeout(t *testing.T) {
	t.Parallel()
	const pages = 5
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := newRowWriter[presence.Instance](w, asNDJSON)
		for range pages {
			if err := out.write(make([]presence.Instance, 1)); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(150 * time.Millisecond)
		}
	}))
	server.Config.WriteTimeout = 500 * time.Millisecond
	server.Start()
	defer server.Close()
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if lines := bytes.Count(body, []byte("\n")); err != nil || lines != pages {
		t.Errorf("%d lines of %d, %v", lines, pages, err)
	}
}
