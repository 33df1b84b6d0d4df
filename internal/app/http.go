package app

import (
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/presencelog/presencelog/internal/problem"
)

// observe counts the requests that next handles, and logs the panics of its handlers. next must be or contain the
// http.ServeMux that sets the pattern of the route.
func (a *App) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() {
			cause := recover()
			if err, _ := cause.(error); cause != nil && !errors.Is(err, http.ErrAbortHandler) {
				a.log.Error("panic", "method", r.Method, "route", r.Pattern, "error", cause, "stack", string(debug.Stack()))
				if recorder.status == 0 {
					problem.New(http.StatusInternalServerError, "An unexpected error occurred. The service's log says more.").ServeHTTP(recorder, r)
					cause = nil
				}
			}
			a.meter.HTTPRequest(r.Pattern, r.Method, recorder.status, time.Since(started))
			if cause != nil {
				panic(http.ErrAbortHandler) // so that the client sees that the response is cut
			}
		}()
		next.ServeHTTP(recorder, r)
	})
}

// statusRecorder remembers the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int // 0 until a final one is written
}

func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find what the wrapped writer can do.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
