// Package webhook is the receiver: it lets gateways in, has their bytes read by package gateway, hands the event to the
// writer and answers once it is durable.
package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
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
	meter  *metrics.Metrics
	log    *slog.Logger
	now    func() time.Time
}

// NewReceiver returns a Receiver that hands events to writer and lets in who shows one of tokens; everybody if there
// are none. now is the clock for receivedAt.
func NewReceiver(
	writer *ingest.Writer, tokens secret.Set, meter *metrics.Metrics, log *slog.Logger, now func() time.Time,
) *Receiver {
	return &Receiver{writer: writer, tokens: tokens, meter: meter, log: log, now: now}
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
		rc.meter.Refuse("unauthorized")
		problem.New(http.StatusUnauthorized, "The webhook's token is missing or wrong. Send it as z-api-token or Client-Token "+
			"header, as ?token= or as the last part of the path.").ServeHTTP(w, r)
		return
	}
	body, refused := read(w, r)
	if refused != nil {
		rc.refuse(w, r, receivedAt, body, refused)
		return
	}
	event, err := gateway.DecodeZAPI(body)
	var ignored *gateway.IgnoredError
	if errors.As(err, &ignored) {
		rc.ignore(w, ignored.Type)
		return
	}
	if err != nil {
		rc.refuse(w, r, receivedAt, body, notUnderstood(err))
		return
	}
	event.ReceivedAt = receivedAt
	if err := rc.writer.Write(r.Context(), &event); err != nil {
		comeAgain(w, r)
		return
	}
	// Written by hand, as it is the answer to nearly every request: an id has nothing to escape.
	send(w, `{"id":"`+presence.EventID(event.ReceivedAt, event.Seq)+"\"}\n")
}

func (rc *Receiver) ignore(w http.ResponseWriter, kind string) {
	rc.meter.Ignored.Inc()
	quoted, _ := jsontext.AppendQuote(nil, kind) // the error only tells of bytes that are not UTF-8
	send(w, `{"ignored":`+string(quoted)+"}\n")
}

// refusal is why a callback of a known sender is not taken.
type refusal struct {
	reason  string // a word for the metrics
	problem *problem.Problem
}

// refuse answers that a callback is not taken, once it is kept in quarantine: the sender may never send it again, and a
// later version may understand it. One of another type is none of our business, whatever is wrong with it: it may be a
// message, and those are not kept.
func (rc *Receiver) refuse(w http.ResponseWriter, r *http.Request, receivedAt time.Time, body []byte, why *refusal) {
	if kind := gateway.TypeZAPI(body); kind != "" && kind != gateway.PresenceZAPI {
		rc.ignore(w, kind)
		return
	}
	rc.meter.Refuse(why.reason)
	ctx := context.WithoutCancel(r.Context()) // who breaks off has gone already
	if err := rc.writer.Quarantine(ctx, ingest.Refused{
		ID: uuid.New(), ReceivedAt: receivedAt, Gateway: "zapi", Reason: why.problem.Detail, Body: body,
	}); err != nil {
		rc.log.Error("keeping a refused callback", "error", err)
		comeAgain(w, r)
		return
	}
	why.problem.ServeHTTP(w, r)
}

func comeAgain(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", retryAfter)
	problem.New(http.StatusServiceUnavailable, "The event could not be stored now; send it again later.").ServeHTTP(w, r)
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

// read returns the body, or as much of it as there is together with why it is refused.
func read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	body, err := readAll(r.Body, r.ContentLength)
	switch {
	case len(body) > maxBody:
		w.Header().Set("Connection", "close") // instead of reading what nobody wants
		return body[:maxBody], &refusal{"too_large", problem.New(http.StatusRequestEntityTooLarge, "",
			problem.Field{Location: "body", Message: "it is larger than 64 KiB"})}
	case err != nil:
		return body, &refusal{"broken_off", problem.New(http.StatusBadRequest,
			"The body broke off before its end.", problem.Field{Location: "body", Message: "it broke off before its end"})}
	case !isJSON(r.Header.Get("Content-Type")):
		return body, &refusal{"media_type", problem.New(http.StatusUnsupportedMediaType, "",
			problem.Field{Location: "header.Content-Type", Message: "it must be application/json"})}
	}
	return body, nil
}

// readAll reads at most one byte more than a body may have.
func readAll(r io.Reader, size int64) ([]byte, error) {
	if size < 0 || size > maxBody {
		return io.ReadAll(io.LimitReader(r, maxBody+1))
	}
	body := make([]byte, size)
	n, err := io.ReadFull(r, body)
	return body[:n], err
}

// isJSON takes a missing type for JSON: not every client sets one.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func notUnderstood(err error) *refusal {
	var field *gateway.FieldError
	if errors.As(err, &field) {
		location := "body"
		if field.Field != location {
			location += "." + field.Field
		}
		return &refusal{"invalid_field", problem.New(http.StatusUnprocessableEntity, field.Error(),
			problem.Field{Location: location, Message: field.Reason})}
	}
	return &refusal{"not_json", problem.New(http.StatusBadRequest, err.Error(),
		problem.Field{Location: "body", Message: err.Error()})}
}

var jsonType = []string{"application/json"}

func send(w http.ResponseWriter, body string) {
	w.Header()["Content-Type"] = jsonType
	_, _ = io.WriteString(w, body)
}
