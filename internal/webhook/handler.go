// Package webhook is the receiver: it authorizes gateways, decodes their callbacks with package gateway, passes events to
// package ingest, and responds once they are durable.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
)

const maxBody = 64 << 10

// Config is what the receiver needs.
type Config struct {
	Writer *ingest.Writer
	Auth   *auth.Authenticator
	Erased func(*presence.Event) bool // reports whether an event must not be stored
	// KeepUnknown keeps the content of rejected payloads of unknown type, which may be messages.
	KeepUnknown bool
	Metrics     *metrics.Metrics
	Log         *slog.Logger
	Now         func() time.Time // the clock for receivedAt
}

type receiver struct {
	Config

	mu     sync.Mutex
	logged map[string]time.Time // when refusals for a reason were last logged
	since  map[string]int       // number of refusals since then
}

// Register adds the receiver's routes to mux.
func Register(mux *http.ServeMux, c Config) {
	rc := &receiver{Config: c, logged: map[string]time.Time{}, since: map[string]int{}}
	for _, path := range []string{"/webhooks/zapi", "/webhooks/zapi/{token}"} {
		mux.HandleFunc("POST "+path, rc.zapi)
		mux.Handle(path, problem.MethodNotAllowed(http.MethodPost))
	}
}

func (rc *receiver) zapi(w http.ResponseWriter, r *http.Request) {
	receivedAt := rc.Now()
	sender, err := rc.Auth.AuthorizeWebhook(r)
	if err != nil {
		rc.deny(w, r, sender, err)
		return
	}
	body, refused := read(w, r, sender.Anybody())
	if refused != nil {
		rc.refuse(w, r, sender, receivedAt, body, refused)
		return
	}
	event, err := gateway.DecodeZAPI(body)
	if ignored, ok := errors.AsType[*gateway.IgnoredError](err); ok {
		rc.ignore(w, ignored.Type)
		return
	}
	if err != nil {
		rc.refuse(w, r, sender, receivedAt, body, invalidBody(err))
		return
	}
	if !sender.MaySee(event.InstanceID) {
		rc.deny(w, r, sender, errOtherInstance)
		return
	}
	event.ReceivedAt = receivedAt
	if rc.Erased(&event) {
		rc.ignore(w, gateway.PresenceZAPI)
		return
	}
	if err := rc.Writer.Write(r.Context(), &event); err != nil {
		writeUnavailable(w, r, err)
		return
	}
	// Nearly every response is this one, so it is not encoded by a JSON library. An id needs no escaping.
	send(w, `{"id":"`+presence.EventID(event.ReceivedAt, event.Seq)+"\"}\n")
}

func (rc *receiver) ignore(w http.ResponseWriter, kind string) {
	rc.Metrics.Ignored.Add(1)
	quoted, _ := jsontext.AppendQuote(nil, kind) // the only error is invalid UTF-8
	send(w, `{"ignored":`+string(quoted)+"}\n")
}

var errOtherInstance = problem.New(http.StatusForbidden, "The token is for other instances only.")

// refusal says why a callback of a known sender is rejected.
type refusal struct {
	reason  string // a word for the metrics
	problem *problem.Problem
}

// refuse keeps a rejected payload and responds: the sender may never send it again, and a later version may accept it. Payloads
// of other types are ignored, since they may be messages, which are not stored. If the type is unknown, only the length and the
// reason are kept. Nothing is kept of blocked contacts, nor of instances that the sender's token is not for.
func (rc *receiver) refuse(
	w http.ResponseWriter, r *http.Request, sender *auth.Principal, receivedAt time.Time, body []byte, why *refusal,
) {
	kind := gateway.TypeZAPI(body)
	if kind != "" && kind != gateway.PresenceZAPI {
		rc.ignore(w, kind)
		return
	}
	instance, phone := gateway.ContactZAPI(body)
	if instance != "" && !sender.MaySee(instance) {
		rc.deny(w, r, sender, errOtherInstance)
		return
	}
	if rc.Erased(&presence.Event{InstanceID: instance, Phone: phone, ReceivedAt: receivedAt}) {
		rc.ignore(w, gateway.PresenceZAPI)
		return
	}
	rc.count(why.reason, sender, r)
	rejected := ingest.Rejected{
		ID: uuid.New(), ReceivedAt: receivedAt, Gateway: "zapi", Reason: why.problem.Detail, Bytes: len(body),
	}
	if kind == gateway.PresenceZAPI || rc.KeepUnknown {
		rejected.Body = body
	}
	ctx := context.WithoutCancel(r.Context()) // the client may have disconnected
	if err := rc.Writer.Reject(ctx, rejected); err != nil {
		if !errors.Is(err, ingest.ErrBusy) {
			rc.Log.Error("keeping a rejected payload", "error", err)
		}
		writeUnavailable(w, r, err)
		return
	}
	why.problem.ServeHTTP(w, r)
}

// writeUnavailable responds that the event may not be stored, and that the sender should retry later.
func writeUnavailable(w http.ResponseWriter, r *http.Request, err error) {
	if limit, ok := errors.AsType[*ingest.LimitError](err); ok {
		problem.Later(http.StatusTooManyRequests, fmt.Sprintf("The event was not stored: more than %d new %s in an hour "+
			"(serve --max-new-%s-per-hour). Send it again later.", limit.PerHour, limit.What, limit.What), limit.RetryAfter).ServeHTTP(w, r)
		return
	}
	problem.Unavailable("The event could not be stored now; send it again later.").ServeHTTP(w, r)
}

// deny refuses a callback of a sender who is not authorized for it. Nothing is kept.
func (rc *receiver) deny(w http.ResponseWriter, r *http.Request, sender *auth.Principal, why error) {
	reason := "unauthorized"
	if p, ok := errors.AsType[*problem.Problem](why); ok {
		switch {
		case p.Status == http.StatusTooManyRequests:
			reason = "rate_limit"
		case p.Status == http.StatusServiceUnavailable:
			reason = "token_unchecked"
		case p.Status == http.StatusForbidden && sender.Anybody():
			reason = "other_site"
		case p.Status == http.StatusForbidden:
			reason = "other_instance"
		}
	}
	rc.count(reason, sender, r)
	problem.Write(w, r, why)
}

// logInterval is the minimum time between messages about the same reason: anybody can cause refusals.
const logInterval = time.Minute

// count counts a callback that is refused. sender may be nil.
func (rc *receiver) count(reason string, sender *auth.Principal, r *http.Request) {
	instance, token := "", ""
	if sender != nil {
		token = sender.Name()
		if bound := sender.Instances(); len(bound) == 1 {
			instance = bound[0]
		}
	}
	rc.Metrics.Refuse(reason, instance)
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.since[reason]++
	if now := rc.Now(); now.Sub(rc.logged[reason]).Abs() >= logInterval {
		rc.Log.Warn("refused callbacks", "reason", reason, "count", rc.since[reason], "token", token,
			"last_from", rc.Auth.Client(r))
		rc.logged[reason], rc.since[reason] = now, 0
	}
}

// read returns the body, or the part of it that was received and the reason for rejecting it.
//
// If no token is needed, the media type is required: without one, any web page can make a browser send a body.
func read(w http.ResponseWriter, r *http.Request, needType bool) ([]byte, *refusal) {
	contentType := r.Header.Get("Content-Type")
	body, err := readAll(r.Body, r.ContentLength)
	switch {
	case len(body) > maxBody:
		w.Header().Set("Connection", "close") // instead of reading the rest
		return body[:maxBody], &refusal{"too_large", problem.New(http.StatusRequestEntityTooLarge, "",
			problem.Field{Location: "body", Message: "it is larger than 64 KiB"})}
	case errors.Is(err, os.ErrDeadlineExceeded): // perhaps this process was frozen, so the sender should try again
		w.Header().Set("Connection", "close")
		return body, &refusal{"truncated", problem.New(http.StatusRequestTimeout, "",
			problem.Field{Location: "body", Message: "it took too long"})}
	case err != nil:
		return body, &refusal{"truncated", problem.New(http.StatusBadRequest,
			"The body ended before it was complete.", problem.Field{Location: "body", Message: "it ended before it was complete"})}
	case r.Header.Get("Content-Encoding") != "" && r.Header.Get("Content-Encoding") != "identity":
		return body, &refusal{"media_type", problem.New(http.StatusUnsupportedMediaType, "",
			problem.Field{Location: "header.Content-Encoding", Message: "it must be missing; send the body as it is"})}
	case needType && contentType == "" || !isJSON(contentType):
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

func invalidBody(err error) *refusal {
	if field, ok := errors.AsType[*gateway.FieldError](err); ok {
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
