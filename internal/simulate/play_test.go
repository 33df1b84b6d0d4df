package simulate

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// numbered makes n events, the first one due now, the others one after another by gap; n < 0 is without end.
// lastSeen numbers each contact's events.
func numbered(n, contacts int, gap time.Duration, made *atomic.Int64) iter.Seq[presence.Event] {
	return func(yield func(presence.Event) bool) {
		now := time.Now()
		for i := 0; i != n; i++ {
			made.Add(1)
			number := int64(i / contacts)
			if !yield(presence.Event{
				InstanceID: "i", Phone: fmt.Sprint(i % contacts), Status: presence.Available,
				ReceivedAt: now.Add(time.Duration(i) * gap), LastSeen: &number,
			}) {
				return
			}
		}
	}
}

func TestPlayKeepsEachContactsOrder(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, false, ok)
	var made atomic.Int64
	const n, contacts, workers = 400, 20, 8
	reports := 0
	tally, err := Play(t.Context(), NewClient(workers), r.URL, "", numbered(n, contacts, 0, &made), 0, workers, func(Tally) { reports++ })
	if err != nil || tally.Sent != n || tally.Failures() != 0 || tally.LastError != "" {
		t.Fatalf("%+v, %v: want %d sent", tally, err, n)
	}
	// A client may dial while it waits for a connection to come free, but it does not dial for each request.
	if got := r.connections.Load(); got > 3*workers {
		t.Errorf("%d connections for %d workers", got, workers)
	}
	next := make(map[string]int)
	for _, body := range r.bodies {
		_, rest, _ := strings.Cut(body, `"phone":"`)
		phone, _, _ := strings.Cut(rest, `"`)
		if want := fmt.Sprintf(`"lastSeen":%d,`, next[phone]); !strings.Contains(body, want) {
			t.Fatalf("%s came out of order, want %s", body, want)
		}
		next[phone]++
	}
	if reports == 0 {
		t.Error("nothing was reported")
	}
}

func TestPlayCountsFailuresByCode(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, false, func(w http.ResponseWriter, body string) {
		switch {
		case strings.Contains(body, `"phone":"1"`):
			http.Error(w, "not you", http.StatusUnauthorized)
		case strings.Contains(body, `"phone":"2"`):
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		case strings.Contains(body, `"phone":"3"`):
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
	})
	var made atomic.Int64
	tally, err := Play(t.Context(), NewClient(1), r.URL+"/?token=hidden", "", numbered(40, 4, 0, &made), 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(tally.Sent, tally.Failed), "10 map[0:10 302:10 401:10]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if tally.LastError == "" || strings.Contains(tally.LastError, "hidden") {
		t.Errorf("the last error is %q: want some words without the token", tally.LastError)
	}
	if _, err := Play(t.Context(), NewClient(1), "nowhere", "", numbered(1, 1, 0, &made), 0, 1, nil); err == nil {
		t.Error("no error for a URL that is none")
	}
}

// transport answers without a network, so that the clock can be a made-up one.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPlayPaces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		gap  time.Duration
		rate float64
		want time.Duration // between events
	}{
		{"by their own times", 3 * time.Second, 0, 3 * time.Second},
		{"by the rate", 3 * time.Second, 4, 250 * time.Millisecond},
		{"past events at once", -time.Second, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var sentAt []time.Duration
				start := time.Now()
				client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
					sentAt = append(sentAt, time.Since(start))
					return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
				})}
				var made atomic.Int64
				if _, err := Play(t.Context(), client, "http://receiver", "", numbered(10, 1, test.gap, &made), test.rate, 1, nil); err != nil {
					t.Fatal(err)
				}
				var want []time.Duration
				for i := range 10 {
					want = append(want, time.Duration(i)*test.want)
				}
				if !slices.Equal(sentAt, want) {
					t.Errorf("sent at %v, want %v", sentAt, want)
				}
			})
		})
	}
}

func TestPlayToASlowReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		var busy, most, answered atomic.Int64
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			answered.Add(1)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 100500*time.Millisecond)
		defer cancel()
		var made, reports atomic.Int64
		tally, err := Play(ctx, client, "http://receiver", "", numbered(-1, 50, 0, &made), 1000, workers, func(Tally) { reports.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		if most.Load() > workers {
			t.Errorf("%d requests at once, want at most %d", most.Load(), workers)
		}
		// At the end every worker may have had a few in hand, and one event was waiting for its worker.
		if waiting := made.Load() - int64(tally.Sent); waiting < 0 || waiting > 1 {
			t.Errorf("%d events made, %d sent: want all that were handed out", made.Load(), tally.Sent)
		}
		if int64(tally.Sent) != answered.Load() || tally.Failures() != 0 {
			t.Errorf("%+v, want the %d that were answered", tally, answered.Load())
		}
		if tally.Sent < 200 || tally.Sent > 330 {
			t.Errorf("%d sent in 100 s by 3 workers at 1 s each", tally.Sent)
		}
		if n := reports.Load(); n < 190 || n > 230 {
			t.Errorf("%d reports in 100 s, want about two a second", n)
		}
	})
}
