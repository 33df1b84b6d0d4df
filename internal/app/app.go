// Package app assembles the service from all other packages: Start opens the database, migrates it, and starts the writer, the
// background work and the HTTP server; Stop ends them in reverse order. The command line and the tests use it.
package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/hook"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/metrics"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/problem"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/spool"
	"github.com/presencelog/presencelog/internal/web"
	"github.com/presencelog/presencelog/internal/webhook"
)

const (
	awayAfter           = 2 * time.Second  // without a response, the database counts as away
	drainTimeout        = 15 * time.Second // for open requests when the service stops
	maintenanceInterval = 6 * time.Hour
	refreshInterval     = 5 * time.Second
	indexInterval       = time.Second
	liveConns           = 4 // for the live feed and the hooks, besides the one that listens
	writeConns          = 8 // for the batches, new contacts, the spool, rejected payloads, the maintenance, the intervals and the indexes
	readConns           = 8
	checkConns          = 2 // for readiness and tokens, which must not wait for queries
)

// Config is the configuration of the service.
type Config struct {
	Listen        string       // host:port
	Listener      net.Listener // from Listen; nil: Start listens
	Database      string       // connection string of PostgreSQL
	NoMigrate     bool         // leave the schema as it is, and refuse one of another version
	SpoolDir      string       // where events are kept while the database is unavailable; "" is nowhere
	SpoolBytes    int64        // how much is kept there at most
	Rejected      Rejected
	Limits        ingest.Limits // maximum numbers of new instances and contacts
	WebhookTokens []string
	APITokens     []string
	TLS           *tls.Config // nil: http
	AuthLimits    auth.Limits
	Proxies       []netip.Prefix // whose X-Forwarded-For is trusted
	TokensFile    string         // where webhook tokens are kept for a start while the database is unavailable; "" is nowhere
	Connections   Connections    // limits of open connections; zero: the default
	Streams       int            // maximum of open streams and waits per token and address
	AwayAfter     time.Duration  // timeout after which the database counts as away; zero: the default
	Version       string
	Demo          bool             // the data are synthetic, and the page says so
	Now           func() time.Time // the clock; nil: presence.Now
	Log           *slog.Logger
}

// Rejected says how rejected payloads are kept.
type Rejected struct {
	MaxBytes   int64         // in the database, and again in the spool while it is away; 0: no limit
	Keep       time.Duration // how long; 0: forever
	KeepBodies bool          // also of those whose type is unknown, which may be messages
}

// App is the running service.
type App struct {
	Addr net.Addr // where it listens
	Auth *auth.Authenticator

	log       *slog.Logger
	now       func() time.Time
	startedAt time.Time
	meter     *metrics.Metrics
	mux       *http.ServeMux
	pools     pools
	spool     *spool.Spool // of events; nil: there is none
	hub       *live.Hub
	erased    *erasure.List
	writer    *ingest.Writer
	failed    chan error
	cleanups  []func() // in the order of starting
}

// Start starts the service and returns once it listens. ctx is for the start only.
func Start(ctx context.Context, c Config) (_ *App, err error) {
	if c.Now == nil {
		c.Now = presence.Now
	}
	c.AwayAfter = cmp.Or(c.AwayAfter, awayAfter)
	a := &App{log: c.Log, now: c.Now, meter: metrics.New(), mux: http.NewServeMux(), failed: make(chan error, 1)}
	a.meter.BuildInfo(c.Version)
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	// Open the port first: this fails fast if it is in use, and early requests wait instead of failing.
	listener := c.Listener
	if listener == nil {
		if listener, err = Listen(c); err != nil {
			return nil, err
		}
	}
	a.onStop(func() { listener.Close() })
	a.Addr = listener.Addr()

	if err := a.openPools(ctx, c.Database); err != nil {
		return nil, err
	}
	spoolRejected := a.openSpools(c)
	a.startedAt = c.Now()
	a.erased = erasure.NewList(a.pools.check)
	prepare := func(ctx context.Context) error {
		if err := c.prepare(ctx, a.pools.write); err != nil {
			return err
		}
		return a.erased.Refresh(ctx) // before any event is stored
	}
	if err := prepare(ctx); err == nil {
		prepare = nil
	} else if a.spool == nil || !postgres.IsUnavailable(err) {
		return nil, err
	} else {
		c.Log.Error("the database is unavailable; events go to the spool until it is available", "error", err)
	}
	a.background(ctx, a.maintain)
	a.background(ctx, a.refresh)
	a.background(ctx, a.completeIndexes)
	a.startLive(ctx)
	a.writer = ingest.NewWriter(ingest.Config{
		Pool: a.pools.write, Spool: a.spool, Timeout: c.AwayAfter, Prepare: prepare, Metrics: a.meter, Log: c.Log, Limits: c.Limits,
		Rejected: ingest.Rejection{Spool: spoolRejected, MaxBytes: c.Rejected.MaxBytes, Keep: c.Rejected.Keep},
		Durable:  a.hub.Durable,
		Keep:     a.erased.Keep,
	})
	a.onStop(a.writer.Close)
	a.meter.Watch(a.writer.Queued, func() bool { return !a.writer.Unavailable() }, a.spool.Bytes, a.spool.Since)
	a.background(ctx, a.watchConnections)
	a.startAuth(ctx, c)
	a.register(c)
	a.serve(listener, c)
	return a, nil
}

// prepare brings the schema up to date, or checks that it is.
func (c Config) prepare(ctx context.Context, pool *pgxpool.Pool) error {
	ping, cancel := context.WithTimeout(ctx, 2*c.AwayAfter)
	defer cancel()
	if err := postgres.Ping(ping, pool); err != nil { // migrating may take long, but not the first response
		return err
	}
	if c.NoMigrate {
		return postgres.CheckSchema(ctx, pool)
	}
	return postgres.Up(ctx, pool)
}

// startLive starts the live feed, the hooks, which send what it announces, and the refresh of the list of erasures.
func (a *App) startLive(ctx context.Context) {
	a.hub = live.New(a.pools.live, a.log, a.now)
	a.onStop(a.hub.Close)
	a.meter.WatchLive(a.hub.Clients)
	a.background(ctx, hook.NewSender(a.pools.live, a.hub, a.log).Run)
	a.background(ctx, func(ctx context.Context) {
		a.erased.Run(ctx, a.log, func() { a.hub.Forget(a.erased.Erased) })
	})
}

// register adds all routes to the mux.
func (a *App) register(c Config) {
	webhook.Register(a.mux, webhook.Config{
		Writer: a.writer, Auth: a.Auth, Erased: a.erased.Erased, KeepUnknown: c.Rejected.KeepBodies, Metrics: a.meter, Log: c.Log, Now: c.Now,
	})
	a.Auth.Register(a.mux)
	api.Register(a.mux, api.Config{
		History: history.NewReader(a.pools.read, c.Now), Erase: func(ctx context.Context, r erasure.Request) (erasure.Result, error) {
			return erasure.Erase(ctx, a.pools.write, r)
		},
		Live: a.hub, Streams: c.Streams, Auth: a.Auth, Version: c.Version, Log: c.Log,
		Now: c.Now, Ready: (&readiness{writer: a.writer, pool: a.pools.check, timeout: c.AwayAfter}).check,
		Status: a.status,
	})
	a.mux.Handle("GET /metrics", a.Auth.RequireFromOutside(a.meter.Handler()))
	a.mux.Handle("/metrics", problem.MethodNotAllowed(http.MethodGet))
	web.Register(a.mux, web.Config{Version: c.Version, Demo: c.Demo})
	a.mux.HandleFunc("/", problem.NotFound)
}

// Listen opens the port for [Start]. Callers that first start a database notice early if the port is in use.
func Listen(c Config) (net.Listener, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return net.Listen("tcp", c.Listen)
}

// Check rejects blank tokens: they would protect nothing.
func (c Config) Check() error {
	for _, token := range slices.Concat(c.WebhookTokens, c.APITokens) {
		if strings.TrimSpace(token) == "" {
			return errors.New("a token is blank")
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("the address to listen on: %w", err)
	}
	return nil
}

// Public reports whether other machines can reach the service.
func (c Config) Public() bool {
	return !auth.IsLoopback(c.Listen)
}

// startAuth starts the refresh of tokens. If other machines can reach the service, every webhook and API request needs a token.
func (a *App) startAuth(ctx context.Context, c Config) {
	a.Auth = auth.New(auth.Config{
		Pool: a.pools.check, WebhookTokens: c.WebhookTokens, APITokens: c.APITokens, Open: !c.Public(), File: c.TokensFile,
		Limits: c.AuthLimits, Proxies: c.Proxies, Timeout: c.AwayAfter / 2,
		Log: c.Log, Now: c.Now,
	})
	if err := a.Auth.Refresh(ctx); err != nil {
		c.Log.Warn("reading tokens", "error", err)
	}
	a.background(ctx, a.Auth.Run)
}

// background runs work until the service stops.
func (a *App) background(ctx context.Context, work func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	a.onStop(func() { cancel(); running.Wait() })
}

// openSpools opens the spool of events, and returns that of rejected payloads, which take no space from events. A spool that is
// not configured or cannot be opened is nil.
func (a *App) openSpools(c Config) (rejected *spool.Spool) {
	const without = "running without a spool: while the database is unavailable, events get a 503"
	if c.SpoolDir == "" {
		c.Log.Warn(without)
		return nil
	}
	open := func(dir string, bytes int64, otherwise string) *spool.Spool {
		s, err := spool.Open(dir, bytes, c.Log)
		if err != nil {
			c.Log.Warn(otherwise, "error", err)
			return nil
		}
		a.onStop(func() { s.Close() })
		return s
	}
	if a.spool = open(c.SpoolDir, c.SpoolBytes, without); a.spool == nil {
		return nil
	}
	return open(c.SpoolDir+"-rejected", cmp.Or(c.Rejected.MaxBytes, c.SpoolBytes), "there is no spool for rejected payloads")
}

// maintain creates partitions in advance, applies the retention, and reindexes past months, until ctx ends. If creating partitions
// fails for long, the writer creates those it needs.
func (a *App) maintain(ctx context.Context) {
	for ctx.Err() == nil {
		interval := maintenanceInterval
		if err := postgres.MakePartitionsAhead(ctx, a.pools.write, a.now()); err != nil && ctx.Err() == nil {
			a.log.Warn("creating partitions in advance", "error", err)
			interval = time.Minute
		} else {
			a.deleteOld(ctx)
			if err := postgres.ReindexPast(ctx, a.pools.write, a.now()); err != nil && !errors.Is(err, postgres.ErrBusy) && ctx.Err() == nil {
				a.log.Warn("reindexing past months", "error", err)
			}
		}
		_ = presence.Sleep(ctx, interval)
	}
}

// refresh keeps the intervals current until ctx ends. While there is much to do, it rests three quarters of the time.
func (a *App) refresh(ctx context.Context) {
	reader := history.NewReader(a.pools.write, a.now)
	for ctx.Err() == nil {
		began := time.Now()
		err := intervals.Refresh(ctx, a.pools.write, a.now, 3)
		a.meter.IntervalRefresh(time.Since(began), err)
		if behind, late, err := reader.Background(ctx); err == nil {
			a.meter.IntervalStatus(behind, late)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, intervals.ErrBusy) && !postgres.IsUnavailable(err) {
			a.log.Warn("refreshing the intervals", "error", err)
		}
		_ = presence.Sleep(ctx, refreshInterval)
	}
}

// completeIndexes keeps queries of the latest events fast until ctx ends.
func (a *App) completeIndexes(ctx context.Context) {
	for ctx.Err() == nil {
		interval := indexInterval
		if err := postgres.CompleteTimeIndexes(ctx, a.pools.write); err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
			a.log.Warn("completing the indexes by time", "error", err)
			interval = time.Minute
		}
		_ = presence.Sleep(ctx, interval)
	}
}

func (a *App) deleteOld(ctx context.Context) {
	gone, err := retention.Run(ctx, a.pools.write, a.now())
	events, stored := gone.Totals()
	if !errors.Is(err, postgres.ErrBusy) && ctx.Err() == nil {
		a.meter.RetentionRun(events, err)
	}
	if !gone.Empty() {
		a.log.Info("applied the retention",
			"events", events, "partitions", gone.Partitions, "intervals", stored)
	}
	if err != nil && !errors.Is(err, postgres.ErrBusy) && ctx.Err() == nil {
		a.log.Warn("applying the retention", "error", err)
	}
}

// serve serves until Stop, which ends open streams.
func (a *App) serve(listener net.Listener, c Config) {
	server := &http.Server{
		Handler:           a.observe(secured(a.mux)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{ // the default is more memory for a connection than one client should have
			MaxConcurrentStreams: 50, MaxReceiveBufferPerConnection: 128 << 10, MaxReceiveBufferPerStream: 64 << 10,
		},
		ConnState: newClients(c).connState,
		ErrorLog:  slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	go func() {
		serve := server.Serve
		if c.TLS != nil {
			server.TLSConfig = c.TLS
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- err
		}
	}()
	a.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		a.hub.Disconnect()
		if err := server.Shutdown(ctx); err != nil {
			a.log.Warn("stopping with requests under way", "error", err)
			server.Close()
		}
	})
}

// Failed returns a channel that receives the error if serving fails.
func (a *App) Failed() <-chan error { return a.failed }

func (a *App) onStop(f func()) { a.cleanups = append(a.cleanups, f) }

// Stop finishes open requests, writes queued events and closes everything in reverse order.
func (a *App) Stop() {
	for len(a.cleanups) > 0 {
		last := len(a.cleanups) - 1
		a.cleanups[last]()
		a.cleanups = a.cleanups[:last]
	}
}
