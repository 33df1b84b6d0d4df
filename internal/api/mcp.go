package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/mcp"
	"github.com/presencelog/presencelog/internal/problem"
)

const maxMCPBody = 64 << 10

// mcp serves the Model Context Protocol. Each request is independent and authorized by its own token.
func (s *server) mcp() http.Handler {
	handler := sdk.NewStreamableHTTPHandler(func(r *http.Request) *sdk.Server {
		principal := auth.FromContext(r.Context())
		return mcp.NewServer(mcp.Config{
			History: s.History, Live: s.Live, Version: s.Version, Now: s.Now, Visible: principal.Instances(),
			MayWait: principal.Has(auth.Live),
			Run: func(ctx context.Context, weight mcp.Weight, query func(context.Context) error) error {
				return s.runMCP(ctx, r, weight, query)
			},
		})
	}, &sdk.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true,
		// The authenticator has checked the origin of requests without a token. With a token, a proxy on this machine may send
		// its own host name.
		DisableLocalhostProtection: true,
	})
	notAllowed := problem.MethodNotAllowed(http.MethodPost)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost { // the SDK would respond with plain text
			notAllowed.ServeHTTP(w, r)
			return
		}
		// Read the whole body while there is a deadline: the call may take long, sending it may not.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMCPBody))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			problem.New(http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB.").ServeHTTP(w, r)
			return
		} else if err != nil {
			problem.New(http.StatusBadRequest, "The body ended before it was complete.").ServeHTTP(w, r)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		keepOpen(w)
		handler.ServeHTTP(w, r)
	})
}

// runMCP runs a query. ctx is the call's, which may differ from the request's.
func (s *server) runMCP(ctx context.Context, r *http.Request, weight mcp.Weight, query func(context.Context) error) (err error) {
	inside, cancel := auth.FromContext(r.Context()).Context(r.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	var leave func()
	if weight == mcp.Waiting {
		leave, err = s.streams.enter(r)
	} else {
		limited, cancel := context.WithTimeout(inside, queryTimeout)
		defer cancel()
		inside = limited
		leave, err = s.gates.enter(inside, weight == mcp.Heavy)
	}
	if err != nil {
		return err
	}
	defer leave()
	return s.translate(inside, query(inside))
}
