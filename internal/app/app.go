// Package app puts the service together and takes it apart again: Start opens the database, migrates it, starts the
// writer and serves; Stop ends all that in the opposite order. The command line and the tests use it alike.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/secret"
	"github.com/presencelog/presencelog/internal/webhook"
)

const (
	commitBound = 10 * time.Second // after which a batch is given up
	drainBound  = 15 * time.Second // for the requests under way when the service stops
	writeConns  = 2
	readConns   = 8
)

// Config is what the service is told from outside.
type Config struct {
	Listen        string // host:port
	Database      string // connection string of PostgreSQL
	WebhookTokens []string
	APITokens     []string
	Version       string
	Log           *slog.Logger
}

// App is the running service.
type App struct {
	Addr net.Addr // where it listens

	log      *slog.Logger
	failed   chan error
	cleanups []func() // in the order of starting
}

// Start starts the service and returns once it listens. ctx bounds the start only.
func Start(ctx context.Context, c Config) (_ *App, err error) {
	a := &App{log: c.Log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	if err := c.Check(); err != nil {
		return nil, err
	}
	// First the port: whether it is free is the quickest to know, and a request that comes early waits instead of failing.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	a.onStop(func() { listener.Close() })
	a.Addr = listener.Addr()

	writePool, err := a.connect(ctx, c.Database, "writer", writeConns)
	if err != nil {
		return nil, err
	}
	readPool, err := a.connect(ctx, c.Database, "reader", readConns)
	if err != nil {
		return nil, err
	}
	if err := postgres.Up(ctx, writePool); err != nil {
		return nil, err
	}
	a.startPartitions(ctx, writePool)

	writer := ingest.NewWriter(ingest.NewStore(writePool), commitBound, c.Log)
	a.onStop(writer.Close)

	mux := http.NewServeMux()
	webhook.NewReceiver(writer, secret.NewSet(c.WebhookTokens), c.Log, presence.Now).Register(mux)
	api.Register(mux, api.Config{
		History: history.NewReader(readPool, presence.Now), Tokens: secret.NewSet(c.APITokens), Version: c.Version, Log: c.Log,
		Now: presence.Now, Ready: readPool.Ping,
	})
	mux.HandleFunc("/", problem.NotFound)
	a.serve(listener, mux)
	return a, nil
}

// Check refuses a configuration that would serve strangers without a secret.
func (c Config) Check() error {
	if len(c.WebhookTokens) > 0 && len(c.APITokens) > 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("the address to listen on: %w", err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("refusing to listen on %s without secrets, since anybody could write and read there: "+
		"set PRESENCELOG_WEBHOOK_TOKENS and PRESENCELOG_API_TOKENS, or listen on 127.0.0.1", c.Listen)
}

func (a *App) connect(ctx context.Context, database, purpose string, conns int32) (*pgxpool.Pool, error) {
	pool, err := postgres.Connect(ctx, database, purpose, conns)
	if err == nil {
		a.onStop(pool.Close)
	}
	return pool, err
}

// startPartitions keeps partitions ready for the events to come. Should that fail for long, the writer makes its own.
func (a *App) startPartitions(ctx context.Context, pool *pgxpool.Pool) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if err := postgres.MakePartitionsAhead(work, pool, presence.Now()); err != nil && work.Err() == nil {
				a.log.Error("making partitions ahead", "error", err)
			}
			select {
			case <-time.After(6 * time.Hour):
			case <-work.Done():
				return
			}
		}
	}()
	a.onStop(func() { cancel(); <-ended })
}

func (a *App) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- err
		}
	}()
	a.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainBound)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			a.log.Warn("ending with requests under way", "error", err)
			server.Close()
		}
	})
}

// Failed gives the error if serving fails.
func (a *App) Failed() <-chan error { return a.failed }

func (a *App) onStop(f func()) { a.cleanups = append(a.cleanups, f) }

// Stop answers the requests under way, writes what is queued and closes everything, last opened first.
func (a *App) Stop() {
	for len(a.cleanups) > 0 {
		last := len(a.cleanups) - 1
		a.cleanups[last]()
		a.cleanups = a.cleanups[:last]
	}
}
