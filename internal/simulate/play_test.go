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

func TestPlayKeepsOrderOfContact(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, false, ok)
	var made atomic.Int64
	const n, contacts, workers = 400, 20, 8
	reported := 0
	result, err := Play(t.Context(), NewClient(workers), r.URL, "", numbered(n, contacts, 0, &made), workers, func() { reported++ })
	if err != nil || result.Sent != n || result.Failed != 0 || result.LastError != nil || reported != n {
		t.Fatalf("%+v, %d reported, %v: want %d sent", result, reported, err, n)
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
}

func TestPlayCountsFailures(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, false, func(w http.ResponseWriter, body string) {
		switch {
		case strings.Contains(body, `"phone":"1"`):
			http.Error(w, "not you", http.StatusUnauthorized)
		case strings.Contains(body, `"phone":"2"`):
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		case strings.Contains(body, `"phone":"3"`):
			panic(http.ErrAbortHandler) // closes the connection without a response
		}
	})
	var made atomic.Int64
	result, err := Play(t.Context(), NewClient(1), r.URL+"/?token=hidden", "", numbered(40, 4, 0, &made), 1, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if result.Sent != 10 || result.Failed != 30 {
		t.Errorf("%d sent and %d failed, want 10 and 30", result.Sent, result.Failed)
	}
	if result.LastError == nil || strings.Contains(result.LastError.Error(), "hidden") {
		t.Errorf("the last error is %v: want some words without the token", result.LastError)
	}
	if _, err := Play(t.Context(), NewClient(1), "nowhere", "", numbered(1, 1, 0, &made), 1, func() {}); err == nil {
		t.Error("no error for a URL that is none")
	}
}

// transport responds without a network, so that the test can use a fake clock.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPlayKeepsTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		gap  time.Duration
		want time.Duration // between events
	}{
		{"by their own times", 3 * time.Second, 3 * time.Second},
		{"past events at once", -time.Second, 0},
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
				if _, err := Play(t.Context(), client, "http://receiver", "", numbered(10, 1, test.gap, &made), 1, func() {}); err != nil {
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
		var busy, most, responded atomic.Int64
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			responded.Add(1)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 100500*time.Millisecond)
		defer cancel()
		var made atomic.Int64
		result, err := Play(ctx, client, "http://receiver", "", numbered(-1, 5000, time.Millisecond, &made), workers, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if most.Load() > workers {
			t.Errorf("%d requests at once, want at most %d", most.Load(), workers)
		}
		// At the end every worker may have had a few in hand, and one event was waiting for its worker.
		if waiting := made.Load() - int64(result.Sent); waiting < 0 || waiting > 1 {
			t.Errorf("%d events made, %d sent: want all that were handed out", made.Load(), result.Sent)
		}
		if int64(result.Sent) != responded.Load() || result.Failed != 0 {
			t.Errorf("%+v, want the %d that got a response", result, responded.Load())
		}
		if result.Sent < 200 || result.Sent > 330 {
			t.Errorf("%d sent in 100 s by %d workers at 1 s each", result.Sent, workers)
		}
	})
}
