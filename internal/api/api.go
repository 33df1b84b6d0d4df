// Package api is the read API: it turns requests into questions to history and answers them as JSON. It also describes
// itself (openapi.json) and says whether the service is alive and ready.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/secret"
)

// Config is what the API needs.
type Config struct {
	History *history.Reader
	Tokens  secret.Set // any of them lets a client read; everybody may if there are none
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	Ready   func(context.Context) error // nil if the database answers
}

// answerBound is how long an answer, or a page of one, may take; then the database is told to stop.
const answerBound = 60 * time.Second

type server struct{ Config }

// setErrors makes huma's errors look like ours. It is huma's only way, for all APIs of a process at once.
var setErrors = sync.OnceFunc(func() { huma.NewError = newError })

// Register adds the API's routes to mux.
func Register(mux *http.ServeMux, c Config) {
	s := &server{c}
	setErrors()

	config := huma.DefaultConfig("presencelog", c.Version)
	config.Info.Description = "The presence history of WhatsApp contacts: who was in the chat, typing or recording, when " +
		"and for how long. Times are RFC 3339 in UTC, ranges half-open [from, to), lengths in seconds."
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}

	reading := http.NewServeMux()
	a := humago.New(reading, config)
	const instance = "/v1/instances/{instanceId}"
	const contact = instance + "/contacts/{phone}"
	list(s, a, "/v1/instances", "list-instances", "The connected numbers that were heard of", s.instances)
	list(s, a, instance+"/contacts", "list-contacts", "An instance's contacts and what they do now", s.contacts)
	get(s, a, contact, "get-contact", "A contact and what it does now", s.contact)
	list(s, a, contact+"/timeline", "get-timeline", "A contact's spans that overlap a range", s.timeline)
	list(s, a, contact+"/events", "list-events", "A contact's events in a range", s.events)
	list(s, a, contact+"/durations", "get-contact-durations",
		"How often and how long a contact typed, recorded and was in the chat", s.contactDurations)
	list(s, a, instance+"/durations", "get-instance-durations",
		"How often and how long an instance's contacts typed, recorded and were in the chat", s.instanceDurations)
	list(s, a, instance+"/compare", "compare-contacts",
		"How often and how long each of several contacts typed, recorded and was in the chat", s.compare)
	list(s, a, instance+"/heatmap", "get-heatmap", "What an instance's contacts did in each hour of the week", s.heatmap)
	list(s, a, instance+"/top", "list-top", "The contacts that did something most", s.top)
	for path := range a.OpenAPI().Paths {
		reading.Handle(path, problem.MethodNotAllowed(http.MethodGet))
	}
	reading.HandleFunc("/", problem.NotFound)

	mux.Handle("/v1", s.authorized(reading)) // lest it be redirected
	mux.Handle("/v1/", s.authorized(reading))
	for path, handler := range map[string]http.HandlerFunc{
		"/openapi.json": reading.ServeHTTP, "/healthz": s.alive, "/readyz": s.ready,
	} {
		mux.HandleFunc("GET "+path, handler)
		mux.Handle(path, problem.MethodNotAllowed(http.MethodGet))
	}
}

func operation(path, id, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary,
		Security: []map[string][]string{{"token": {}}},
		Errors:   []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity},
	}
}

// get registers an operation that gives one thing as JSON.
func get[I, B any](s *server, a huma.API, path, id, summary string, answer func(context.Context, *I) (B, error)) {
	type output struct{ Body B }
	huma.Register(a, operation(path, id, summary), func(ctx context.Context, in *I) (*output, error) {
		body, err := ask(ctx, s, in, answer)
		return &output{body}, err
	})
}

// ask asks for an answer, or a page of one, within the time that it may take.
func ask[I, B any](ctx context.Context, s *server, in *I, answer func(context.Context, *I) (B, error)) (B, error) {
	ctx, cancel := context.WithTimeout(ctx, answerBound)
	defer cancel()
	body, err := answer(ctx, in)
	return body, s.translate(ctx, err)
}

// translate is the one place where errors become answers. What is not meant for clients is logged and hidden.
func (s *server) translate(ctx context.Context, err error) error {
	var told *problem.Problem
	var missing *history.NotFoundError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told):
		return told
	case errors.As(err, &missing):
		return problem.New(http.StatusNotFound, "There is no such contact or instance: "+missing.Error()+".")
	case errors.Is(err, history.ErrTooManyBuckets):
		return invalid("bucket", err.Error())
	case ctx.Err() != nil: // nobody listens any more
	default:
		s.Log.Error("answering a request", "error", err)
	}
	return problem.New(http.StatusServiceUnavailable, "The history cannot be read at the moment; try again later.")
}

// newError makes the errors that huma finds by itself, in parameters, look like all others.
func newError(status int, message string, errs ...error) huma.StatusError {
	var fields []problem.Field
	for _, err := range errs {
		var detail *huma.ErrorDetail
		if errors.As(err, &detail) {
			fields = append(fields, problem.Field{Location: detail.Location, Message: detail.Message})
		}
	}
	if len(fields) > 0 {
		message = ""
	}
	return problem.New(status, message, fields...)
}

// invalid says what is wrong with a query parameter.
func invalid(parameter, message string) error {
	return problem.New(http.StatusUnprocessableEntity, "", problem.Field{Location: "query." + parameter, Message: message})
}

func (s *server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !s.Tokens.Empty() && !(strings.EqualFold(scheme, "Bearer") && s.Tokens.Has(strings.TrimSpace(token))) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			problem.New(http.StatusUnauthorized,
				"The API token is missing or wrong; send it as Authorization: Bearer <token>.").ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) alive(w http.ResponseWriter, _ *http.Request) { writeOK(w) }

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		w.Header().Set("Retry-After", "1")
		problem.New(http.StatusServiceUnavailable, "The database does not answer.").ServeHTTP(w, r)
		return
	}
	writeOK(w)
}

func writeOK(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
}
