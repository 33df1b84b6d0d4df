package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/problem"
)

const requestIDHeader = "X-Request-Id"

// goodRequestID matches request ids that are accepted from a proxy, so that both logs have the same id.
var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

type requestKey struct{}

// identified gives each request an id, which the response has too, and passes the request on to translate.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !goodRequestID.MatchString(id) {
			id = rand.Text()
		}
		w.Header().Set(requestIDHeader, id)
		known := &requestInfo{id: id}
		known.request = r.WithContext(context.WithValue(r.Context(), requestKey{}, known))
		defer func() { r.Pattern = known.request.Pattern }() // so that metrics can count by it
		next.ServeHTTP(w, known.request)
	})
}

type requestInfo struct {
	id      string
	request *http.Request
}

// requestLog returns a log with the request's id, method and route. The route is the pattern, since the path names a contact.
func (s *server) requestLog(ctx context.Context) *slog.Logger {
	known, ok := ctx.Value(requestKey{}).(*requestInfo)
	if !ok {
		return s.Log
	}
	return s.Log.With("method", known.request.Method, "route", known.request.Pattern, "request_id", known.id)
}

// translate is the only place where errors become responses. Unexpected errors are logged once and hidden from clients.
func (s *server) translate(ctx context.Context, err error) error {
	var known *problem.Problem
	var missing *history.NotFoundError
	var wrong *history.InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &missing):
		text := missing.Error()
		return problem.New(http.StatusNotFound, strings.ToUpper(text[:1])+text[1:]+".")
	case errors.As(err, &wrong):
		return invalid(wrong.Field, wrong.Reason)
	case errors.Is(err, history.ErrTooManyBuckets):
		return invalid("bucket", err.Error())
	case errors.Is(ctx.Err(), context.Canceled): // the client disconnected
	case errors.Is(err, live.ErrNotReady):
	case postgres.IsUnavailable(err):
		s.requestLog(ctx).Warn("the database is unavailable or overloaded", "error", err)
	default:
		s.requestLog(ctx).Error("unexpected error", "error", err)
		return problem.New(http.StatusInternalServerError, "An unexpected error occurred. The service's log has it under this response's "+requestIDHeader+".")
	}
	return problem.Unavailable("The history cannot be read at the moment; try again later.")
}
