// Package embedded runs a private PostgreSQL server in a directory.
//
// It finds PostgreSQL's programs, creates the cluster, and starts and stops the server. Several processes can use the same
// directory at once: the process that holds the lock owns the server, the others are guests, and when the owner ends a guest
// becomes the owner. The server listens on a Unix socket that only its own user can reach, never on the network.
//
// The package does not tune, upgrade, back up or delete a cluster, and it does not install PostgreSQL, except from npm where
// nothing else is found.
//
// Inside the directory it uses these names and ignores all others:
//
//	postgres          the cluster
//	postgres.init-*   a cluster that initdb is creating
//	postgres.lock     locked with flock by the owner
//	postgres.guests   locked with flock by the guests that the owner waits for
//	postgres.log      the server's log
//	postgres-hba.conf who may connect, and how
//	postgres-npm      PostgreSQL's programs, if they came from npm; root has
//	                  them in /var/cache/presencelog
//	postgres-socket   the directory of the Unix socket
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// database is the name of the database that every cluster has.
const database = "presencelog"

// Options are the choices a caller of [Open] has. The zero value is a durable server with the first PostgreSQL that [Find]
// finds, which logs nothing but the server's own log.
type Options struct {
	// Bin is the directory with initdb and postgres. If it is empty, Open looks for one as Find does, and prefers the version
	// that created the cluster.
	Bin string

	// Settings are PostgreSQL settings such as "work_mem": "64MB". They replace those this package chooses, except the ones
	// that keep the server private: listen_addresses, port, and where the socket and the log are. With "fsync": "off" the
	// cluster is also created without syncing it. A guest's settings take effect when it becomes the owner.
	Settings map[string]string

	// Brief says that this process uses the server for one task, which a restart would break. While it does, AwaitGuests of
	// the owner waits.
	Brief bool

	// Log receives what happens to the server while it is open: that it was started, ended unexpectedly, or changed its owner.
	// nil logs nothing.
	Log *slog.Logger
}

// Server is a handle on a running server, got from [Open]. Its methods may be called by several goroutines at once.
type Server struct {
	cluster *cluster
	conn    string
	lock    *lock
	owner   atomic.Bool
	cancel  context.CancelFunc

	done chan struct{} // closed when the goroutine that runs or awaits the server has ended
	err  error         // of stopping the server; read after done
}

// Open makes sure that a server runs on dir and returns a handle on it. It creates dir, the cluster and the database
// presencelog if they are missing.
//
// If another process has the server open, Open joins it and waits until it responds. If that process ends first, this one
// starts the server again with the same connection string, so that a connection pool only has to reconnect. If the server dies,
// its owner restarts it. If the owner is killed, the server ends with it on Linux; elsewhere the next owner stops it.
//
// Open fails if PostgreSQL is not installed, if dir/postgres is of another major version or is no cluster at all, if the
// directory cannot be used, and if ctx ends first. It never changes a cluster that it refuses. ctx has no effect after Open has
// returned.
func Open(ctx context.Context, dir string, o Options) (*Server, error) {
	s, err := open(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL in %s: %w", dir, err)
	}
	return s, nil
}

func open(ctx context.Context, dir string, o Options) (*Server, error) {
	dir, err := makeDir(dir)
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, wantBin: o.Bin, settings: o.Settings, log: o.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	lock, err := openLock(dir)
	if err != nil {
		return nil, err
	}

	warn := time.Now().Add(5 * time.Second)
	for {
		owner, err := lock.try()
		if err != nil {
			return nil, errors.Join(err, lock.close())
		}
		if owner {
			return own(ctx, c, lock)
		}
		joined := true
		if o.Brief {
			if joined, err = lock.join(); err != nil {
				return nil, errors.Join(err, lock.close())
			}
		}
		if pf := c.readPidFile(); joined && pf.ready() {
			conn := connString(pf.socket, database)
			switch err := ensureDatabase(ctx, pf.socket); {
			case err == nil:
				c.socket = pf.socket
				return newServer(c, conn, lock, nil), nil
			case !transient(err):
				return nil, errors.Join(err, lock.close())
			}
		}
		if time.Now().After(warn) {
			c.log.Warn("waiting for the process that holds the lock to start PostgreSQL", "lock", lock.name())
			warn = warn.Add(time.Hour)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for the process that holds %s to start the server: %w", lock.name(), err), lock.close())
		}
	}
}

// own starts the server for Open, which holds the lock.
func own(ctx context.Context, c *cluster, lock *lock) (*Server, error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, errors.Join(err, lock.close())
	}
	if err := ensureDatabase(ctx, c.socket); err != nil {
		return nil, errors.Join(err, p.stop(), lock.close())
	}
	return newServer(c, connString(c.socket, database), lock, p), nil
}

// newServer returns a handle that owns the process p, or that waits for the lock if p is nil.
func newServer(c *cluster, conn string, lock *lock, p *process) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cluster: c, conn: conn, lock: lock, cancel: cancel, done: make(chan struct{})}
	s.owner.Store(p != nil)
	go func() {
		defer close(s.done)
		s.err = errors.Join(s.run(ctx, lock, p), lock.close())
	}()
	return s
}

// ConnString returns the connection string of the database presencelog, in PostgreSQL's keyword=value form. It stays the same
// until Close.
func (s *Server) ConnString() string { return s.conn }

// AwaitGuests returns when the server may be stopped: when no guest with [Options.Brief] uses it, when this process is a guest
// itself, or when ctx ends. Call it before Close where the task of this process may end before that of a guest.
func (s *Server) AwaitGuests(ctx context.Context) {
	warn := time.Now().Add(time.Second)
	for s.owner.Load() {
		if alone, err := s.lock.alone(); alone || err != nil {
			return
		}
		if time.Now().After(warn) {
			s.cluster.log.Warn("waiting for other processes that use this PostgreSQL", "dir", s.cluster.dir)
			warn = warn.Add(time.Hour)
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// Close stops the server if this process owns it, and returns when it has stopped. Transactions under way are rolled back. A
// server that is not down after 20 seconds is stopped with an immediate shutdown, and recovers at its next start; Close then
// returns an error, but no committed data is lost. Closing a guest does not affect the server. Further calls of Close return
// the same.
func (s *Server) Close() error {
	s.cancel()
	<-s.done
	return s.err
}

// run waits until this process owns the server, and keeps it running until ctx ends. It returns the error of stopping it.
func (s *Server) run(ctx context.Context, lock *lock, p *process) error {
	if p == nil {
		if err := lock.wait(ctx, s.cluster.log); err != nil {
			return nil // closed while a guest
		}
		s.owner.Store(true)
		s.cluster.log.Info("the owner of PostgreSQL ended: taking over", "dir", s.cluster.dir)
	}
	// A server that died is restarted after the shortest delay; one that does not start is tried again after growing delays.
	const shortest, longest = 50 * time.Millisecond, time.Second
	for delay := shortest; ; delay = min(2*delay, longest) {
		if p == nil {
			var err error
			if p, err = s.cluster.start(ctx); err != nil && ctx.Err() == nil {
				s.cluster.log.Error("cannot start PostgreSQL; trying again", "delay", delay, "error", err)
			}
		}
		if p != nil {
			replaced, stopWatching := s.cluster.watchProgram()
			select {
			case <-ctx.Done():
				stopWatching()
				return p.stop()
			case <-replaced:
				// What the running server has loaded no longer matches what new connections load. Until it is back, clients see
				// it restart.
				s.cluster.log.Warn("PostgreSQL was upgraded; restarting it", "bin", s.cluster.bin)
				if err := p.stop(); err != nil {
					s.cluster.log.Error("stopping PostgreSQL for its upgrade", "error", err)
				}
				p, delay = nil, shortest
				continue
			case <-p.done:
			}
			stopWatching()
			s.cluster.log.Error("PostgreSQL has died; restarting it", "dir", s.cluster.dir, "pid", p.pid(), "error", p.err)
			p, delay = nil, shortest
		}
		if sleep(ctx, delay) != nil {
			return nil
		}
	}
}

// ensureDatabase creates the database if it is missing. Two processes may do so at once.
func ensureDatabase(ctx context.Context, socket string) error {
	conn, err := pgx.Connect(ctx, connString(socket, database))
	if err == nil {
		_ = conn.Close(ctx)
		return nil
	}
	if code(err) != pgerrcode.InvalidCatalogName {
		return fmt.Errorf("connect to the database %s: %w", database, err)
	}
	conn, err = pgx.Connect(ctx, connString(socket, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the database postgres: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	if c := code(err); err != nil && c != pgerrcode.DuplicateDatabase && c != pgerrcode.UniqueViolation {
		return fmt.Errorf("create the database %s: %w", database, err)
	}
	return nil
}

func code(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// transient reports whether connecting may succeed later: the server does not respond, or is starting or shutting down.
func transient(err error) bool {
	if errors.Is(err, os.ErrPermission) {
		return false
	}
	c := code(err)
	return c == "" || strings.HasPrefix(c, "57") // operator intervention
}

func connString(socket, db string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(socket)
	return fmt.Sprintf("host='%s' port=%s user=postgres dbname=%s sslmode=disable", quoted, port, db)
}

// sleep waits for d or until ctx ends, and then returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
