package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/problem"
)

const (
	heartbeatInterval = 15 * time.Second
	writeTimeout      = 5 * time.Second // for a client of the feed to read what is written
	maxNames          = 100             // instances or phones that a client may name
)

type liveInput struct {
	Instance    []string `query:"instance,explode" doc:"Only these instances; repeat the parameter or separate them with commas" example:"3C01A7E5B2D94F608C1D2E3F4A5B6C7D"`
	Phone       []string `query:"phone,explode" doc:"Only these contacts; repeat the parameter or separate them with commas" example:"5544999999999"`
	Status      []string `query:"status" enum:"AVAILABLE,UNAVAILABLE,COMPOSING,PAUSED,RECORDING" doc:"Only changes to one of these statuses, separated by commas"`
	LastEventID string   `header:"Last-Event-ID" maxLength:"64" doc:"The last id that the client has seen; the feed begins with the current state of all contacts that have changed since"`
	Accept      string   `header:"Accept" hidden:"true"`
}

func (s *server) registerLive(a huma.API, path string) {
	o := operation(path, "watch-live", "Status changes as they happen")
	o.Description = "Server-Sent Events, or NDJSON if `Accept` asks for `application/x-ndjson`. Each change of a contact's status is an " +
		"event `state`, also a change by a timeout. The feed carries state, not history: after a reconnect with `Last-Event-ID` " +
		"it begins with the current state of every contact that has changed since. If the server no longer knows what has " +
		"changed, it sends one event `resync`: read the contacts again. To miss nothing, connect first, then read the contacts."
	a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[live.State](), true, "")
	o.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"text/event-stream": {
			Schema:  &huma.Schema{Type: huma.TypeString, Description: "Events `state` with a State as data, and `resync` with an empty object. A comment or an id comes at least every 15 s."},
			Example: "event: state\nid: gzf1k2x-42\ndata: {\"instanceId\":\"instance.id\",\"phone\":\"5544999999999\",\"status\":\"COMPOSING\",\"since\":\"2026-11-22T09:30:49.163999Z\",\"lastEventAt\":\"2026-11-22T09:30:49.163999Z\"}\n\n",
		},
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "The same, one object with id, event and data a line; a line with the event `heartbeat` comes every 15 s."}},
	}}}
	o.Errors = append(o.Errors, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	o.Middlewares = huma.Middlewares{s.streams.limit}
	huma.Register(a, o, s.live)
}

func (s *server) live(ctx context.Context, in *liveInput) (*huma.StreamResponse, error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	principal := auth.FromContext(ctx)
	filter.Restrict(principal.Instances())
	client := s.Live.Subscribe(filter, in.LastEventID)
	if err := client.AwaitReady(ctx); err != nil {
		client.Close()
		return nil, s.translate(ctx, err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer client.Close()
		r, w := humago.Unwrap(c)
		feed := newFeed(w, FormatQuery{Accept: in.Accept}.form() == asNDJSON)
		if r.Method == http.MethodHead {
			return
		}
		ctx, cancel := principal.Context(r.Context())
		defer cancel()
		feed.follow(ctx, client)
	}}, nil
}

func (in *liveInput) filter() (f live.Filter, err error) {
	if f.Instances, err = listOf("instance", in.Instance); err != nil {
		return f, err
	}
	if f.Phones, err = listOf("phone", in.Phone); err != nil {
		return f, err
	}
	f.Statuses, err = parseStatuses(in.Status)
	return f, err
}

// listOf reads a parameter that may have commas and be repeated. An empty list is nil.
func listOf(parameter string, values []string) ([]string, error) {
	var list []string
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			if name == "" || len(name) > 128 || !history.IsText(name) {
				return nil, invalid(parameter, "each must have 1 to 128 bytes of UTF-8 without NUL characters")
			}
			list = append(list, name)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > maxNames {
		return nil, invalid(parameter, "there must be at most 100")
	}
	return list, nil
}

// feed writes messages as Server-Sent Events or NDJSON.
type feed struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ndjson  bool
}

func newFeed(w http.ResponseWriter, ndjson bool) *feed {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	if ndjson {
		h.Set("Content-Type", "application/x-ndjson")
	}
	h.Set("X-Accel-Buffering", "no") // otherwise nginx would buffer events
	h.Add("Vary", "Accept")
	return &feed{w, http.NewResponseController(w), ndjson}
}

// follow writes messages until the client disconnects, is too slow or no longer authorized, or the service stops.
func (f *feed) follow(ctx context.Context, client *live.Client) {
	start := f.heartbeat(client.ID())
	if client.Resync {
		start = f.resync(client.ID())
	}
	if f.write(start) != nil {
		return
	}
	heartbeat := time.Tick(heartbeatInterval)
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-client.Ended:
			return
		case <-client.Wake():
			var messages []*live.Message
			if messages, err = client.Take(); err == nil {
				parts := make([][]byte, len(messages))
				for i, m := range messages {
					if parts[i] = m.SSE(); f.ndjson {
						parts[i] = m.NDJSON()
					}
				}
				err = f.write(parts...)
			}
		case <-heartbeat:
			err = f.write(f.heartbeat(client.ID()))
		}
		if err != nil {
			return
		}
	}
}

// heartbeat shows that the connection is alive. A client resumes from its id even if no message has passed its filter for long.
// The id is "" if messages wait to be written.
func (f *feed) heartbeat(id string) []byte {
	switch {
	case f.ndjson:
		return []byte(`{"id":"` + id + `","event":"heartbeat","data":{}}` + "\n")
	case id == "":
		return []byte(":\n\n")
	}
	return []byte(":\nid: " + id + "\n\n")
}

func (f *feed) resync(id string) []byte {
	if f.ndjson {
		return []byte(`{"id":"` + id + `","event":"resync","data":{}}` + "\n")
	}
	return []byte("event: resync\nid: " + id + "\ndata: {}\n\n")
}

func (f *feed) write(parts ...[]byte) error {
	if err := f.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := f.w.Write(part); err != nil {
			return err
		}
	}
	if err := f.control.Flush(); err != nil {
		return err
	}
	return f.control.SetWriteDeadline(time.Now().Add(heartbeatInterval + writeTimeout)) // it ends a stream of HTTP/2 that is silent
}

// streams counts open streams and waits by token and address.
type streams struct {
	most   int
	client func(*http.Request) string // the client's address
	mu     sync.Mutex
	open   map[string]int
}

// limit is a middleware of operations that stay open for long.
func (s *streams) limit(c huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(c)
	leave, err := s.enter(r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	defer leave()
	keepOpen(w)
	next(c)
}

// enter counts a request until leave is called.
func (s *streams) enter(r *http.Request) (leave func(), err error) {
	key := s.client(r) + " " + auth.FromContext(r.Context()).Key()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] >= s.most {
		return nil, problem.Later(http.StatusTooManyRequests, "This token has too many streams open from this address.", 5*time.Second)
	}
	s.open[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[key]--; s.open[key] == 0 {
			delete(s.open, key)
		}
	}, nil
}

// keepOpen extends the server's write timeout for a response. The read timeout has ended with the request's body.
func keepOpen(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxWait + queryTimeout))
}
