package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HTTPRequest counts a request and its time by route, method and status. A status of 0 means that none was
// written.
func (m *Metrics) HTTPRequest(pattern, method string, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK // what net/http sends for a handler that writes nothing
	}
	route, method := routeLabel(pattern), methodLabel(method)
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(route, method).Observe(took.Seconds())
}

// routeLabel returns the path of a pattern like "GET /v1/instances". Requests that match no route share one label, so
// that arbitrary paths do not become time series.
func routeLabel(pattern string) string {
	if _, path, found := strings.Cut(pattern, " "); found {
		pattern = path
	}
	if pattern == "" || pattern == "/" {
		return "other"
	}
	return pattern
}

// methodLabel returns the method, or "other" for an unknown one.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
