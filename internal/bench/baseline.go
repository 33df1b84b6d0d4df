package bench

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// naiveConns is the size of the pool with which the naive service is fastest.
const naiveConns = 64

// naiveSchema is the obvious schema.
const naiveSchema = `
CREATE TABLE IF NOT EXISTS naive_events (
    instance text NOT NULL,
    phone text NOT NULL,
    status text NOT NULL,
    last_seen bigint,
    received_at timestamptz NOT NULL,
    extra json
);
CREATE INDEX IF NOT EXISTS naive_events_at ON naive_events (instance, phone, received_at)`

const naiveInsert = `INSERT INTO naive_events (instance, phone, status, last_seen, received_at, extra) VALUES ($1, $2, $3, $4, $5, $6)`

// ServeBaseline serves a baseline on listen until ctx ends. token is the webhook token. Only Naive uses the database.
func ServeBaseline(ctx context.Context, kind Kind, listen, database, token string) error {
	store := func(context.Context, *presence.Event) error { return nil }
	switch kind {
	case DecodeOnly:
	case Naive:
		pool, err := postgres.Connect(ctx, database, "bench", naiveConns)
		if err != nil {
			return err
		}
		defer pool.Close()
		if _, err := pool.Exec(ctx, naiveSchema); err != nil {
			return fmt.Errorf("create the naive table: %w", err)
		}
		store = func(ctx context.Context, e *presence.Event) error {
			_, err := pool.Exec(ctx, naiveInsert, e.InstanceID, e.Phone, e.Status.String(), e.LastSeen, postgres.Time(e.ReceivedAt), e.Extra)
			return err
		}
	default:
		return fmt.Errorf("%q is not a baseline", kind)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: baseline(token, store)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// baseline does what every receiver must do: authorize, read, decode, store, respond.
func baseline(token string, store func(context.Context, *presence.Event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := presence.Now()
		if token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(r.Header.Get("Z-Api-Token"))) == 0 {
			http.Error(w, "the token is wrong", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		event, err := gateway.DecodeZAPI(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		event.ReceivedAt = at
		if err := store(r.Context(), &event); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "{\"id\":%q}\n", presence.EventID(event.ReceivedAt, event.Seq))
	})
}
