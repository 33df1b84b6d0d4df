// Package webhook is the receiver: it lets gateways in, has their bytes read by package gateway, hands the event to the
// writer and answers once it is durable.
package webhook

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/secret"
)

const (
	maxBody    = 64 << 10
	retryAfter = "5" // seconds
)

// Receiver answers gateways' webhooks.
type Receiver struct {
	writer *ingest.Writer
	tokens secret.Set
	log    *slog.Logger
	now    func() time.Time
}

// NewReceiver returns a Receiver that hands events to writer and lets in who shows one of tokens; everybody if there
// are none. now is the clock for receivedAt.
func NewReceiver(writer *ingest.Writer, tokens secret.Set, log *slog.Logger, now func() time.Time) *Receiver {
	return &Receiver{writer: writer, tokens: tokens, log: log, now: now}
}

// Register adds the receiver's routes to mux.
func (rc *Receiver) Register(mux *http.ServeMux) {
	for _, path := range []string{"/webhooks/zapi", "/webhooks/zapi/{token}"} {
		mux.HandleFunc("POST "+path, rc.zapi)
		mux.Handle(path, problem.MethodNotAllowed(http.MethodPost))
	}
}

func (rc *Receiver) zapi(w http.ResponseWriter, r *http.Request) {
	receivedAt := rc.now()
	if !rc.allowed(r) {
		problem.New(http.StatusUnauthorized, "The webhook's token is missing or wrong. Send it as z-api-token or Client-Token "+
			"header, as ?token= or as the last part of the path.").ServeHTTP(w, r)
		return
	}
	body, p := read(w, r)
	if p != nil {
		p.ServeHTTP(w, r)
		return
	}
	event, err := gateway.DecodeZAPI(body)
	var ignored *gateway.IgnoredError
	if errors.As(err, &ignored) {
		answer(w, map[string]string{"ignored": ignored.Type})
		return
	}
	if err != nil {
		refusal(err).ServeHTTP(w, r)
		return
	}
	event.ReceivedAt = receivedAt
	if err := rc.writer.Write(r.Context(), &event); err != nil {
		w.Header().Set("Retry-After", retryAfter)
		problem.New(http.StatusServiceUnavailable, "The event could not be stored now; send it again later.").ServeHTTP(w, r)
		return
	}
	answer(w, map[string]string{"id": presence.EventID(event.ReceivedAt, event.Seq)})
}

// allowed looks for a token everywhere that a gateway can be made to put one. Z-API always sends a z-api-token, though
// perhaps not ours, so one right token is enough.
func (rc *Receiver) allowed(r *http.Request) bool {
	if rc.tokens.Empty() {
		return true
	}
	var query string
	if r.URL.RawQuery != "" {
		query = r.URL.Query().Get("token")
	}
	return rc.tokens.Has(r.Header.Get("Z-Api-Token"), r.Header.Get("Client-Token"), query, r.PathValue("token"))
}

func read(w http.ResponseWriter, r *http.Request) ([]byte, *problem.Problem) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, problem.New(http.StatusUnsupportedMediaType, "", problem.Field{
			Location: "header.Content-Type", Message: "it must be application/json",
		})
	}
	size := r.ContentLength
	if size > maxBody {
		w.Header().Set("Connection", "close") // instead of reading what nobody wants
		return nil, tooLarge()
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, maxBody), size)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge()
	case err != nil:
		return nil, problem.New(http.StatusBadRequest, "The body broke off: it is shorter than Content-Length says.")
	}
	return body, nil
}

func readAll(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return io.ReadAll(r)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return body, err
}

func tooLarge() *problem.Problem {
	return problem.New(http.StatusRequestEntityTooLarge, "", problem.Field{Location: "body", Message: "it is larger than 64 KiB"})
}

// isJSON takes a missing type for JSON: not every client sets one.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func refusal(err error) *problem.Problem {
	var field *gateway.FieldError
	if errors.As(err, &field) {
		return problem.New(http.StatusUnprocessableEntity, field.Error(),
			problem.Field{Location: "body." + field.Field, Message: field.Reason})
	}
	return problem.New(http.StatusBadRequest, err.Error(), problem.Field{Location: "body", Message: err.Error()})
}

func answer(w http.ResponseWriter, body map[string]string) {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}
