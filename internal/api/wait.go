package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
)

const (
	maxWait   = 5 * time.Minute
	maxSettle = 5 * time.Minute
)

type waitInput struct {
	ContactPath
	Until   string `query:"until" enum:"idle,typing,recording,available,unavailable" default:"idle" doc:"What to wait for: a status; or idle: the contact has neither typed nor recorded for settle"`
	Settle  string `query:"settle" default:"1500ms" doc:"With until=idle: for how long, at most 5m" example:"1500ms"`
	Timeout string `query:"timeout" default:"30s" doc:"How long to wait at most, up to 5m" example:"30s"`
	Since   string `query:"since" doc:"RFC 3339, or a date, which means the start of that day in the instance's time zone. With a status: respond at once if the contact has had the status at any time since then; pass now of the last response, so that nothing is missed between two calls. With idle: start counting settle at this time at the earliest, for example when a message arrives" example:"2026-10-01T00:00:00Z"`
}

func (s *server) registerWait(a huma.API, path string) {
	o := operation(path, "wait-for-contact", "Wait until a contact has stopped typing, or does something")
	o.Description = "A long poll. It responds when the contact has neither typed nor recorded for `settle`, or has the status that `until` " +
		"names, with the contact's state then. Bots call it before they reply."
	o.Errors = append(o.Errors, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	o.Middlewares = huma.Middlewares{s.streams.limit}
	huma.Register(a, o, func(ctx context.Context, in *waitInput) (*struct{ Body live.Waited }, error) {
		ctx, cancel := auth.FromContext(ctx).Context(ctx)
		defer cancel()
		body, err := s.wait(ctx, in)
		return &struct{ Body live.Waited }{body}, s.translate(ctx, err)
	})
}

func (s *server) wait(ctx context.Context, in *waitInput) (out live.Waited, err error) {
	query := live.WaitQuery{InstanceID: in.InstanceID, Phone: in.Phone, Until: live.Until(in.Until)}
	if query.Settle, err = length("settle", in.Settle, maxSettle); err != nil {
		return out, err
	}
	if query.Timeout, err = length("timeout", in.Timeout, maxWait); err != nil {
		return out, err
	}
	if in.Since != "" {
		loc, err := s.History.Zone(ctx, in.InstanceID, "")
		if err != nil {
			return out, err
		}
		// A plus sign that is not escaped arrives as a blank.
		if query.Since, err = history.ParseMoment("since", strings.Replace(in.Since, " ", "+", 1), time.Time{}, loc); err != nil {
			return out, err
		}
	}
	return s.Live.Wait(ctx, s.History, query)
}

// length reads a parameter that is a duration.
func length(parameter, value string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > most {
		return 0, invalid(parameter, "it must be a duration from 0s to "+most.String()+", like 1500ms or 30s")
	}
	return d, nil
}
