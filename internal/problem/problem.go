// Package problem is how every part of the service tells a client what went wrong: RFC 9457 problem details. They name
// the field and what to do, and never the service's insides.
package problem

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Problem is the body of an error, of media type application/problem+json.
type Problem struct {
	Title  string  `json:"title" doc:"The status in words"`
	Status int     `json:"status" doc:"The HTTP status"`
	Detail string  `json:"detail" doc:"What is wrong and what to do about it"`
	Errors []Field `json:"errors,omitempty" doc:"The fields or parameters that are wrong"`
}

// Field says what is wrong with one field or parameter.
type Field struct {
	Location string `json:"location" doc:"Where it is, for example body.status or query.limit"`
	Message  string `json:"message" doc:"What is wrong with it"`
}

// New makes a problem. Where fields are given and detail is empty, the fields are the detail.
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

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// ServeHTTP answers with the problem.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false)
	_ = body.Encode(p) // the client may be gone
}

// NotFound answers for paths that do not exist.
func NotFound(w http.ResponseWriter, r *http.Request) {
	New(http.StatusNotFound, "There is nothing at this address; /openapi.json lists what there is.").ServeHTTP(w, r)
}

// MethodNotAllowed answers for a path that exists with other methods.
func MethodNotAllowed(methods ...string) http.Handler {
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		New(http.StatusMethodNotAllowed, "This address takes "+allow+".").ServeHTTP(w, r)
	})
}
