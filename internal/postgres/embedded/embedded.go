// Package embedded runs a private PostgreSQL server in a directory.
//
// It finds PostgreSQL's programs, creates the cluster, and starts and stops the server. Several processes can use the same
// directory at once: the process that holds the lock owns the server, the others are guests, and when the owner ends a guest
// becomes the owner. The server listens on a Unix socket that only its own user can reach, never on the network.
//
// The package does not upgrade, back up or delete a cluster, and it does not install PostgreSQL, except from npm where nothing
// else is found.
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
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/postgres"
)

// database is the name of the database that every cluster has.
const database = "presencelog"

// Options are the options of [Open]. The zero value is a durable server with the first PostgreSQL that [Find] finds, without a
// Log.
type Options struct {
	// Bin is the directory with initdb and postgres. If it is empty, Open looks for one as Find does, and prefers the version
	// that created the cluster.
	Bin string

	// Settings are PostgreSQL settings such as "work_mem": "64MB". They override the defaults of this package, except for
	// listen_addresses, port, and the locations of the socket and the log. With "fsync": "off" the cluster is also created
	// without syncing it. A guest's settings take effect when it becomes the owner.
	Settings map[string]string

	// Brief says that this process uses the server for one task, which a restart would break. The owner's AwaitGuests waits for
	// it.
	Brief bool

	// Log receives events of the server: that it started, ended unexpectedly, or changed its owner. nil logs nothing.
	Log *slog.Logger
}

// Server is a handle on a running server. Several goroutines may call its methods.
type Server struct {
	cluster *cluster
	lock    *lock
	owner   atomic.Bool
	cancel  context.CancelFunc

	done chan struct{} // closed when the goroutine that runs or awaits the server has ended
	err  error         // of stopping the server; read after done
}

// Open makes sure that a server runs on dir and returns a handle on it. It creates dir, the cluster and the database
// presencelog if they are missing.
//
// If another process owns the server, Open waits until the server responds. If that process ends first, this one restarts the
// server with the same connection string, so that connection pools only have to reconnect. If the server dies, its owner
// restarts it. If the owner is killed, the server ends with it on Linux; elsewhere the next owner stops it.
//
// Open fails if no PostgreSQL of the cluster's major version is installed, if dir/postgres is not a cluster, if the directory
// cannot be used, or if ctx ends. It never changes a cluster that it cannot use. ctx has no effect after Open returns.
func Open(ctx context.Context, dir string, o Options) (*Server, error) {
	s, err := open(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL in %s: %w", dir, err)
	}
	return s, nil
}

// Exists reports whether dir has a cluster, or a process that may be creating one. It may return true if dir cannot be read.
func Exists(dir string) bool {
	_, noCluster := os.Stat(filepath.Join(dir, "postgres"))
	_, noLock := os.Stat(filepath.Join(dir, lockName))
	return !errors.Is(noCluster, fs.ErrNotExist) || !errors.Is(noLock, fs.ErrNotExist)
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
			switch err := ensureDatabase(ctx, pf.socket); {
			case err == nil:
				c.socket = pf.socket
				return newServer(c, lock, nil), nil
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
	return newServer(c, lock, p), nil
}

// newServer returns a handle that owns the process p, or that waits for the lock if p is nil.
func newServer(c *cluster, lock *lock, p *process) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cluster: c, lock: lock, cancel: cancel, done: make(chan struct{})}
	s.owner.Store(p != nil)
	go func() {
		defer close(s.done)
		s.err = errors.Join(s.run(ctx, lock, p), lock.close())
	}()
	return s
}

// ConnString returns the connection string of the database presencelog, in PostgreSQL's keyword=value form. It stays the same
// until Close.
func (s *Server) ConnString() string { return connString(s.cluster.socket, database) }

// AwaitGuests waits until no guest with [Options.Brief] uses the server, or ctx ends. It returns at once in a guest. Call it
// before Close if this process may end before a guest's task.
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

// Close stops the server if this process owns it, and returns when it has stopped. Transactions under way are rolled back.
// After 20 seconds it uses an immediate shutdown, and the server recovers at its next start; Close then returns an error, but
// no committed data is lost. Closing a guest does not affect the server. Later calls return the same.
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
	// A server that died is restarted after the shortest delay; if it does not start, the delay grows.
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
				// The libraries in the running server no longer match those that new connections load. Clients see a restart.
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

// ensureDatabase creates the database if it is missing. Several processes may call it.
func ensureDatabase(ctx context.Context, socket string) error {
	conn, err := pgx.Connect(ctx, connString(socket, database))
	if err == nil {
		_ = conn.Close(ctx)
		return nil
	}
	if postgres.ErrorCode(err) != pgerrcode.InvalidCatalogName {
		return fmt.Errorf("connect to the database %s: %w", database, err)
	}
	conn, err = pgx.Connect(ctx, connString(socket, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the database postgres: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	if code := postgres.ErrorCode(err); err != nil && code != pgerrcode.DuplicateDatabase && code != pgerrcode.UniqueViolation {
		return fmt.Errorf("create the database %s: %w", database, err)
	}
	return nil
}

// transient reports whether connecting may succeed later: the server does not respond, or is starting or shutting down.
func transient(err error) bool {
	if errors.Is(err, os.ErrPermission) {
		return false
	}
	class := postgres.ErrorClass(err)
	return class == "" || class == "57" // operator intervention
}

func connString(socket, db string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(socket)
	return fmt.Sprintf("host='%s' port=%s user=postgres dbname=%s sslmode=disable", quoted, port, db)
}

// sleep waits for d or until ctx ends, and then returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
