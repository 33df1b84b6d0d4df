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

	log      *slog.Logger
	now      func() time.Time
	meter    *metrics.Metrics
	mux      *http.ServeMux
	failed   chan error
	cleanups []func() // in the order of starting
}

// Start starts the service and returns once it listens. ctx is for the start only.
func Start(ctx context.Context, c Config) (_ *App, err error) {
	if c.Now == nil {
		c.Now = presence.Now
	}
	c.AwayAfter = cmp.Or(c.AwayAfter, awayAfter)
	a := &App{log: c.Log, now: c.Now, meter: metrics.New(), failed: make(chan error, 1)}
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

	writePool, err := a.connect(ctx, postgres.Reserve, c.Database, "writer", writeConns)
	if err != nil {
		return nil, err
	}
	readPool, err := a.connect(ctx, postgres.Connect, c.Database, "reader", readConns)
	if err != nil {
		return nil, err
	}
	livePool, err := a.connect(ctx, postgres.Connect, c.Database, "feed", liveConns)
	if err != nil {
		return nil, err
	}
	checkPool, err := a.connect(ctx, postgres.Reserve, c.Database, "check", checkConns)
	if err != nil {
		return nil, err
	}
	spooled, spoolRejected := a.openSpools(c)
	startedAt := c.Now()
	prepare := func(ctx context.Context) error {
		ping, cancel := context.WithTimeout(ctx, 2*c.AwayAfter)
		defer cancel()
		if err := postgres.Ping(ping, writePool); err != nil { // migrating may take long, but not the first response
			return err
		}
		if c.NoMigrate {
			return postgres.CheckSchema(ctx, writePool)
		}
		return postgres.Up(ctx, writePool)
	}
	if err := prepare(ctx); err == nil {
		prepare = nil
	} else if spooled == nil || !postgres.IsUnavailable(err) {
		return nil, err
	} else {
		c.Log.Error("the database is unavailable; events go to the spool until it is available", "error", err)
	}
	a.background(ctx, func(ctx context.Context) { a.maintain(ctx, writePool) })
	a.background(ctx, func(ctx context.Context) { a.refresh(ctx, writePool) })
	a.background(ctx, func(ctx context.Context) { a.completeIndexes(ctx, writePool) })

	hub := live.New(livePool, c.Log, c.Now)
	a.onStop(hub.Close)
	a.meter.WatchLive(hub.Clients)
	a.background(ctx, hook.NewSender(livePool, hub, c.Log).Run)
	erased := erasure.NewList(checkPool)
	_ = erased.Refresh(ctx) // it is repeated later
	a.background(ctx, func(ctx context.Context) {
		erased.Run(ctx, func() { hub.Forget(erased.Erased) })
	})
	writer := ingest.NewWriter(ingest.Config{
		Pool: writePool, Spool: spooled, Timeout: c.AwayAfter, Prepare: prepare, Metrics: a.meter, Log: c.Log, Limits: c.Limits,
		Rejected: ingest.Rejection{Spool: spoolRejected, MaxBytes: c.Rejected.MaxBytes, Keep: c.Rejected.Keep},
		Durable:  hub.Durable,
		Keep:     erased.Keep,
	})
	a.onStop(writer.Close)
	a.meter.Watch(writer.Queued, func() bool { return !writer.Unavailable() }, spooled.Bytes, spooled.Since)

	a.background(ctx, func(ctx context.Context) {
		a.watchConnections(ctx, checkPool, writePool, readPool, livePool, checkPool)
	})
	a.startAuth(ctx, c, checkPool)
	mux := http.NewServeMux()
	a.mux = mux
	webhook.Register(mux, webhook.Config{
		Writer: writer, Auth: a.Auth, Erased: erased.Erased, KeepUnknown: c.Rejected.KeepBodies, Metrics: a.meter, Log: c.Log, Now: c.Now,
	})
	a.Auth.Register(mux)
	api.Register(mux, api.Config{
		History: history.NewReader(readPool, c.Now), Erase: func(ctx context.Context, r erasure.Request) (erasure.Result, error) {
			return erasure.Erase(ctx, writePool, r)
		},
		Live: hub, Streams: c.Streams, Auth: a.Auth, Version: c.Version, Log: c.Log,
		Now: c.Now, Ready: (&readiness{writer: writer, pool: checkPool, timeout: c.AwayAfter}).check,
		Status: func() api.Status { return status(startedAt, a.meter, a.Auth, writer, spooled) },
	})
	mux.Handle("GET /metrics", a.Auth.RequireFromOutside(a.meter.Handler()))
	mux.Handle("/metrics", problem.MethodNotAllowed(http.MethodGet))
	web.Register(mux, web.Config{Version: c.Version, Demo: c.Demo})
	mux.HandleFunc("/", problem.NotFound)
	a.serve(listener, c, a.observe(secured(mux)), hub.Disconnect)
	return a, nil
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
	host, _, _ := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// startAuth starts the refresh of tokens. If other machines can reach the service, every webhook and API request needs a token.
func (a *App) startAuth(ctx context.Context, c Config, pool *pgxpool.Pool) {
	a.Auth = auth.New(auth.Config{
		Pool: pool, WebhookTokens: c.WebhookTokens, APITokens: c.APITokens, Open: !c.Public(), File: c.TokensFile,
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

// openSpools returns nil for a spool that is not configured or cannot be opened. Rejected payloads have their own spool, so
// that they take no space from events.
func (a *App) openSpools(c Config) (events, rejected *spool.Spool) {
	const without = "running without a spool: while the database is unavailable, events get a 503"
	if c.SpoolDir == "" {
		c.Log.Warn(without)
		return nil, nil
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
	if events = open(c.SpoolDir, c.SpoolBytes, without); events == nil {
		return nil, nil
	}
	return events, open(c.SpoolDir+"-rejected", cmp.Or(c.Rejected.MaxBytes, c.SpoolBytes), "there is no spool for rejected payloads")
}

// maintain creates partitions in advance, applies the retention, and packs past months, until ctx ends. If creating partitions
// fails for long, the writer creates those it needs.
func (a *App) maintain(ctx context.Context, pool *pgxpool.Pool) {
	for ctx.Err() == nil {
		interval := maintenanceInterval
		if err := postgres.MakePartitionsAhead(ctx, pool, a.now()); err != nil && ctx.Err() == nil {
			a.log.Warn("creating partitions in advance", "error", err)
			interval = time.Minute
		} else {
			a.deleteOld(ctx, pool)
			if err := postgres.PackPast(ctx, pool, a.now()); err != nil && !errors.Is(err, postgres.ErrBusy) && ctx.Err() == nil {
				a.log.Warn("packing past months", "error", err)
			}
		}
		_ = presence.Sleep(ctx, interval)
	}
}

// refresh keeps the intervals current until ctx ends. While there is much to do, it rests three quarters of the time.
func (a *App) refresh(ctx context.Context, pool *pgxpool.Pool) {
	reader := history.NewReader(pool, a.now)
	for ctx.Err() == nil {
		began := time.Now()
		err := intervals.Refresh(ctx, pool, a.now, 3)
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
func (a *App) completeIndexes(ctx context.Context, pool *pgxpool.Pool) {
	for ctx.Err() == nil {
		interval := indexInterval
		if err := postgres.CompleteTimeIndexes(ctx, pool); err != nil && ctx.Err() == nil && !postgres.IsUnavailable(err) {
			a.log.Warn("completing the indexes by time", "error", err)
			interval = time.Minute
		}
		_ = presence.Sleep(ctx, interval)
	}
}

func (a *App) deleteOld(ctx context.Context, pool *pgxpool.Pool) {
	gone, err := retention.Run(ctx, pool, a.now())
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

// serve serves until Stop, which calls disconnect to end open streams.
func (a *App) serve(listener net.Listener, c Config, handler http.Handler, disconnect func()) {
	server := &http.Server{
		Handler:           handler,
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
		disconnect()
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
