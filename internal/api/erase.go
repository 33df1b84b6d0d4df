package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/problem"
)

type eraseInput struct {
	ContactPath
	Block bool `query:"block" doc:"Also refuse future events of this contact"`
}

func (s *server) registerErase(a huma.API, path string) {
	o := operation(path, "erase-contact", "Delete every trace of a contact")
	o.Method, o.Tags = http.MethodDelete, []string{"history"}
	o.Description = "Always needs a token with the scope erase. It responds when everything is deleted; if it fails, repeat the request."
	o.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		_, w := humago.Unwrap(c)
		keepOpen(w)
		next(c)
	}}
	huma.Register(a, o, func(ctx context.Context, in *eraseInput) (*struct{ Body erasure.Result }, error) {
		if !history.IsText(in.InstanceID) || !history.IsText(in.Phone) {
			return nil, s.translate(ctx, &history.NotFoundError{InstanceID: in.InstanceID, Phone: in.Phone})
		}
		// A client that disconnects does not stop the erasure half way.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*queryTimeout)
		defer cancel()
		leave, err := s.gates.erasures.enter(ctx, auth.FromContext(ctx).Key())
		if err != nil {
			return nil, err
		}
		defer leave()
		result, err := s.Erase(ctx, erasure.Request{
			InstanceID: in.InstanceID, Phone: in.Phone, Block: in.Block, By: auth.FromContext(ctx).Name(),
		})
		if err == nil && result.Contacts == 0 && result.Rejected == 0 && !in.Block {
			err = &history.NotFoundError{InstanceID: in.InstanceID, Phone: in.Phone}
		} else if errors.Is(err, intervals.ErrBusy) {
			err = problem.Later(http.StatusServiceUnavailable, "Other transactions are writing events; erase again.", 30*time.Second)
		}
		return &struct{ Body erasure.Result }{result}, s.translate(ctx, err)
	})
}
