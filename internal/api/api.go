// Package api is the HTTP read API: it turns requests into queries of package history, and responds with JSON, CSV or a live
// feed. It also serves the OpenAPI document, liveness and readiness.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/problem"
)

// Config is what the API needs.
type Config struct {
	History *history.Reader
	Live    *live.Hub
	Streams int // maximum of open streams and waits per token and address
	Auth    *auth.Authenticator
	Erase   func(context.Context, erasure.Request) (erasure.Result, error)
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	Ready   func(context.Context) error // nil if the database responds
	Status  func() Status
}

// queryTimeout is the timeout of the query for a response, or for a page of one.
const queryTimeout = 60 * time.Second

type server struct {
	Config
	streams streams
	gates   gates
}

// setErrors makes huma use our errors, and declares that no list is null. huma has these settings only for all APIs of a
// process.
var setErrors = sync.OnceFunc(func() { huma.NewError, huma.DefaultArrayNullable = newError, false })

// Register adds the API's routes to mux.
func Register(mux *http.ServeMux, c Config) {
	s := &server{Config: c, streams: streams{most: c.Streams, client: c.Auth.Client, open: map[string]int{}}, gates: gates{
		newGate(maxQueries, maxQueries-2), newGate(maxHeavy, maxHeavy-1), newGate(maxResponses, maxResponses/4),
		newGate(maxErasures, maxErasures),
	}}
	reading := http.NewServeMux()
	a := s.operations(reading)
	for path, item := range a.OpenAPI().Paths {
		methods := []string{http.MethodGet}
		if item.Delete != nil {
			methods = append(methods, http.MethodDelete)
		}
		reading.Handle(path, problem.MethodNotAllowed(methods...))
	}
	reading.HandleFunc("/", problem.NotFound)

	authorized := identified(s.Auth.Require(auth.Read, reading))
	mux.Handle("/v1", authorized) // otherwise it would be redirected
	mux.Handle("/v1/", authorized)
	mux.Handle("DELETE "+contact, identified(s.Auth.Require(auth.Erase, reading)))
	for _, path := range []string{"/v1/live", contact + "/wait"} {
		mux.Handle(path, identified(s.Auth.Require(auth.Live, reading)))
	}
	mux.Handle("/mcp", identified(s.Auth.Require(auth.Read, s.mcp())))
	for path, handler := range map[string]http.HandlerFunc{
		"/openapi.json": reading.ServeHTTP, "/docs": docsHandler(a.OpenAPI()).ServeHTTP, "/healthz": writeOK, "/readyz": s.ready,
	} {
		mux.HandleFunc("GET "+path, handler)
		mux.Handle(path, problem.MethodNotAllowed(http.MethodGet))
	}
}

// Document returns the OpenAPI document of a version of the service, in OpenAPI 3.1 or 3.0.
func Document(version, openAPI string) ([]byte, error) {
	s := &server{Config: Config{Version: version}}
	o := s.operations(http.NewServeMux()).OpenAPI()
	if openAPI == "3.0" {
		o.Webhooks = nil // 3.0 has none
		return o.Downgrade()
	}
	return o.MarshalJSON()
}

const (
	instance = "/v1/instances/{instanceId}"
	contact  = instance + "/contacts/{phone}"
)

// operations adds the operations to mux and describes them.
func (s *server) operations(mux *http.ServeMux) huma.API {
	setErrors()
	config := huma.DefaultConfig("presencelog", s.Version)
	config.Info.Description = "The presence history of WhatsApp contacts: who was in the chat, typing or recording, when " +
		"and for how long. Times are RFC 3339 in UTC, ranges are half-open: [from, to). Durations are in seconds."
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}

	a := onlyJSON{humago.New(mux, config)}
	a.UseMiddleware(s.hideInstances(a), checkQuery)
	pages(s, a, "/v1/instances", "list-instances", "The instances that have events", s.instances)
	pages(s, a, instance+"/contacts", "list-contacts", "An instance's contacts and what they do now", s.contacts)
	get(s, a, contact, "get-contact", "A contact and what it does now", s.contact)
	pages(s, a, contact+"/timeline", "get-timeline", "A contact's spans that overlap a range", s.timeline)
	pages(s, a, contact+"/events", "list-events", "A contact's events in a range", s.events)
	list(s, a, contact+"/durations", "get-contact-durations",
		"How often and how long a contact typed, recorded and was in the chat", s.contactDurations)
	list(s, a, instance+"/durations", "get-instance-durations",
		"How often and how long an instance's contacts typed, recorded and were in the chat", s.instanceDurations)
	list(s, a, instance+"/compare", "compare-contacts",
		"How often and how long each of several contacts typed, recorded and was in the chat", s.compare)
	list(s, a, instance+"/heatmap", "get-heatmap", "The activity of an instance's contacts in each hour of the week", s.instanceHeatmap)
	list(s, a, contact+"/heatmap", "get-contact-heatmap", "A contact's activity in each hour of the week", s.contactHeatmap)
	list(s, a, contact+"/habits", "get-habits", "In which hours of the week a contact is usually in the chat", s.habits)
	list(s, a, instance+"/top", "list-top", "The most active contacts", s.top)
	pages(s, a, "/v1/now", "get-now", "The contacts of all instances and what they do now", s.now)
	get(s, a, contact+"/lanes", "get-lanes", "A contact's visits, typing and recording in a range, for drawing", s.lanes)
	get(s, a, "/v1/status", "get-status", "What this process of the service does, and when each instance last sent an event", s.status)
	s.registerLive(a, "/v1/live")
	s.registerWait(a, contact+"/wait")
	s.registerErase(a, contact)
	describe(a.OpenAPI())
	return a
}

// onlyJSON is an API that ignores Accept: lists read it themselves, and everything else is JSON. huma's own negotiation panics if
// the header is malformed.
type onlyJSON struct{ huma.API }

// Negotiate implements huma.API.
func (onlyJSON) Negotiate(string) (string, error) { return "application/json", nil }

func operation(path, id, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary,
		Security: []map[string][]string{{"token": {}}},
		Errors:   []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity},
	}
}

// get registers an operation that returns one object as JSON.
func get[I, B any](s *server, a huma.API, path, id, summary string, query func(context.Context, *I) (B, error)) {
	type output struct{ Body B }
	huma.Register(a, operation(path, id, summary), func(ctx context.Context, in *I) (*output, error) {
		body, err := runQuery(ctx, s, isHeavy(path), func(ctx context.Context) (B, error) { return query(ctx, in) })
		return &output{body}, err
	})
}

// runQuery runs a query, or a page of one, within queryTimeout.
func runQuery[B any](ctx context.Context, s *server, heavy bool, query func(context.Context) (B, error)) (body B, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	leave, err := s.gates.enter(ctx, heavy)
	if err != nil {
		return body, err
	}
	defer leave()
	body, err = query(ctx)
	return body, s.translate(ctx, err)
}

// newError makes huma's own errors, about parameters, look like all others.
func newError(status int, message string, errs ...error) huma.StatusError {
	var fields []problem.Field
	for _, err := range errs {
		if detail, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			fields = append(fields, problem.Field{Location: detail.Location, Message: detail.Message})
		}
	}
	if len(fields) > 0 {
		message = ""
	}
	return problem.New(status, message, fields...)
}

// invalid is the error of a query parameter.
func invalid(parameter, message string) error {
	return problem.New(http.StatusUnprocessableEntity, "", problem.Field{Location: "query." + parameter, Message: message})
}

// hideInstances responds as if instances that the principal may not see did not exist. It is a middleware of all operations, so
// that a new one cannot forget it.
func (s *server) hideInstances(a huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if id := ctx.Param("instanceId"); id != "" && !auth.FromContext(ctx.Context()).MaySee(id) {
			r, w := humago.Unwrap(ctx)
			problem.Write(w, r, s.translate(ctx.Context(), &history.NotFoundError{InstanceID: id, Phone: ctx.Param("phone")}))
			return
		}
		next(ctx)
	}
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		problem.Later(http.StatusServiceUnavailable, "The database does not respond.", time.Second).ServeHTTP(w, r)
		return
	}
	writeOK(w, r)
}

func writeOK(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
}
