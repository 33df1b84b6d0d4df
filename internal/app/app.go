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
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/rollup"
	"github.com/presencelog/presencelog/internal/secret"
	"github.com/presencelog/presencelog/internal/spool"
	"github.com/presencelog/presencelog/internal/webhook"
)

const (
	commitBound = 2 * time.Second  // after which the database counts as away
	drainBound  = 15 * time.Second // for the requests under way when the service stops
	upkeepPause = 6 * time.Hour
	rollupPause = 15 * time.Second
	writeConns  = 6 // for the batches, the spool, the quarantine, the upkeep and the rollups
	readConns   = 8
)

// Config is what the service is told from outside.
type Config struct {
	Listen        string // host:port
	Database      string // connection string of PostgreSQL
	SpoolDir      string // where events are kept while the database is away; "" is nowhere
	SpoolBytes    int64  // how much is kept there at most
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
	spooled := a.openSpool(c)
	meter := metrics.New()
	prepare := func(ctx context.Context) error {
		answer, cancel := context.WithTimeout(ctx, 2*commitBound)
		defer cancel()
		if err := writePool.Ping(answer); err != nil { // migrating may take long, but not the first answer
			return err
		}
		return postgres.Up(ctx, writePool)
	}
	if err := prepare(ctx); err == nil {
		prepare = nil
	} else if spooled == nil || !postgres.IsAway(err) {
		return nil, err
	} else {
		c.Log.Error("the database is away; events go to the spool until it is back", "error", err)
	}
	a.startUpkeep(ctx, writePool)
	a.startRollups(ctx, writePool)

	writer := ingest.NewWriter(ingest.Config{
		Pool: writePool, Spool: spooled, Bound: commitBound, Prepare: prepare, Metrics: meter, Log: c.Log,
	})
	a.onStop(writer.Close)
	meter.Watch(writer.Queued, func() bool { return !writer.Away() }, spooled.Bytes, spooled.Since)

	mux := http.NewServeMux()
	webhook.NewReceiver(writer, secret.NewSet(c.WebhookTokens), meter, c.Log, presence.Now).Register(mux)
	api.Register(mux, api.Config{
		History: history.NewReader(readPool, presence.Now), Tokens: secret.NewSet(c.APITokens), Version: c.Version, Log: c.Log,
		Now: presence.Now, Ready: func(ctx context.Context) error {
			if writer.Away() {
				return errors.New("the database does not take events")
			}
			return readPool.Ping(ctx)
		},
	})
	mux.Handle("GET /metrics", meter.Handler())
	mux.Handle("/metrics", problem.MethodNotAllowed(http.MethodGet))
	mux.HandleFunc("/", problem.NotFound)
	a.serve(listener, mux)
	return a, nil
}

// Check refuses a configuration that would serve strangers without a secret.
func (c Config) Check() error {
	if !secret.NewSet(c.WebhookTokens).Empty() && !secret.NewSet(c.APITokens).Empty() {
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

// openSpool returns nil if there is to be no spool or there can be none.
func (a *App) openSpool(c Config) *spool.Spool {
	if c.SpoolDir == "" {
		c.Log.Warn("there is no spool: while the database is away, events are refused with 503")
		return nil
	}
	s, err := spool.Open(c.SpoolDir, c.SpoolBytes, c.Log)
	if err != nil {
		c.Log.Warn("there is no spool: while the database is away, events are refused with 503", "error", err)
		return nil
	}
	a.onStop(func() { s.Close() })
	return s
}

// startUpkeep keeps partitions ready for the events to come, deletes what is older than the settings say, and packs what
// is left of the past. Should the first fail for long, the writer makes its own.
func (a *App) startUpkeep(ctx context.Context, pool *pgxpool.Pool) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			pause := upkeepPause
			if err := postgres.MakePartitionsAhead(work, pool, presence.Now()); err != nil && work.Err() == nil {
				a.log.Warn("making partitions ahead", "error", err)
				pause = time.Minute
			} else {
				a.deleteOld(work, pool)
				if err := postgres.PackPast(work, pool, presence.Now()); err != nil && work.Err() == nil {
					a.log.Warn("packing past months", "error", err)
				}
			}
			select {
			case <-time.After(pause):
			case <-work.Done():
				return
			}
		}
	}()
	a.onStop(func() { cancel(); <-ended })
}

// startRollups keeps the rollups current. While there is much to do, it leaves three quarters of the time to others.
func (a *App) startRollups(ctx context.Context, pool *pgxpool.Pool) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			err := rollup.Run(work, pool, presence.Now, 3)
			if err != nil && work.Err() == nil && !errors.Is(err, rollup.ErrBusy) && !postgres.IsAway(err) {
				a.log.Warn("keeping the rollups current", "error", err)
			}
			select {
			case <-time.After(rollupPause):
			case <-work.Done():
				return
			}
		}
	}()
	a.onStop(func() { cancel(); <-ended })
}

func (a *App) deleteOld(ctx context.Context, pool *pgxpool.Pool) {
	gone, err := retention.Run(ctx, pool, presence.Now())
	if !gone.Empty() {
		events, rollups := gone.Totals()
		a.log.Info("deleted what is older than the settings say",
			"events", events, "partitions", gone.Partitions, "rollups", rollups, "quarantine", gone.Quarantine)
	}
	if err != nil && !errors.Is(err, retention.ErrBusy) && ctx.Err() == nil {
		a.log.Warn("deleting what is older than the settings say", "error", err)
	}
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
