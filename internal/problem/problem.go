// Package problem has the error responses of packages webhook, api and auth: problem details of RFC 9457. They name the field
// and say what to do, and never show internals.
package problem

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is the body of an error, of media type application/problem+json.
type Problem struct {
	Title  string  `json:"title" doc:"The status in words"`
	Status int     `json:"status" doc:"The HTTP status"`
	Detail string  `json:"detail" doc:"What is wrong and what to do about it"`
	Errors []Field `json:"errors,omitempty" doc:"The fields or parameters that are wrong"`

	Header http.Header `json:"-"` // of the response, besides Content-Type
}

// Field says what is wrong with one field or parameter.
type Field struct {
	Location string `json:"location" doc:"Where it is, for example body.status or query.limit"`
	Message  string `json:"message" doc:"What is wrong with it"`
}

// New returns a problem. An empty detail is set from the fields.
func New(status int, detail string, fields ...Field) *Problem {
	if detail == "" {
		var parts []string
		for _, f := range fields {
			_, name, found := strings.Cut(f.Location, ".")
			if !found {
				name = f.Location
			}
			parts = append(parts, name+": "+f.Message)
		}
		detail = strings.Join(parts, "; ")
	}
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

// Later returns a temporary problem: the client should retry after a while, in whole seconds, at least one.
func Later(status int, detail string, after time.Duration) *Problem {
	p := New(status, detail)
	p.Header = http.Header{"Retry-After": {strconv.Itoa(max(1, int(math.Ceil(after.Seconds()))))}}
	return p
}

// Unavailable returns the temporary problem that this service, or its database, is not available.
func Unavailable(detail string) *Problem {
	return Later(http.StatusServiceUnavailable, detail, 5*time.Second)
}

// Write responds with an error. It hides the text of errors that are not problems.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		p = New(http.StatusInternalServerError, "The request failed.")
	}
	p.ServeHTTP(w, r)
}

// These methods make a Problem an error, also of huma.
func (p *Problem) Error() string             { return p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) GetHeaders() http.Header   { return p.Header }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// ServeHTTP responds with the problem.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), p.Header)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false)
	_ = body.Encode(p) // the client may be gone
}

// NotFound responds to paths that do not exist.
func NotFound(w http.ResponseWriter, r *http.Request) {
	New(http.StatusNotFound, "This path does not exist; /openapi.json lists all that do.").ServeHTTP(w, r)
}

// MethodNotAllowed responds to other methods of a path that exists.
func MethodNotAllowed(methods ...string) http.Handler {
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		New(http.StatusMethodNotAllowed, "This path accepts "+allow+".").ServeHTTP(w, r)
	})
}
