// Package embedded runs a private PostgreSQL server in a directory.
//
// It finds PostgreSQL's programs, makes the cluster, starts the server and
// stops it again, and lets several processes use the same directory at once:
// the one that holds the lock owns the server, the others are guests, and when
// the owner goes away a guest becomes the owner. The server listens on a Unix
// socket that only its own user can reach, never on the network.
//
// The package does not tune, upgrade, back up or delete a cluster, and it does
// not install PostgreSQL, except from npm where nothing else is found.
//
// Inside the directory it uses these names and leaves all others alone:
//
//	postgres          the cluster
//	postgres.init-*   a cluster in the making
//	postgres.lock     locked with flock by the owner
//	postgres.log      the server's log
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
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// database is the name of the database that every cluster has.
const database = "presencelog"

// Options are the choices a caller of [Open] has. The zero value is a durable
// server with the first PostgreSQL that [Find] finds, which logs nothing but
// the server's own log.
type Options struct {
	// Bin is the directory with initdb and postgres. If it is empty, Open looks
	// for one as Find does, and prefers the version that made the cluster.
	Bin string

	// Settings are PostgreSQL settings such as "work_mem": "64MB". They replace
	// those this package chooses, except the ones that keep the server private:
	// listen_addresses, port, and where the socket and the log are. With
	// "fsync": "off" the cluster is also made without syncing it. A guest's
	// settings come into force when it becomes the owner.
	Settings map[string]string

	// Log receives what happens to the server while it is open: that it was
	// started, died, was taken over. If it is nil, nobody is told.
	Log *slog.Logger
}

// Server is a handle on a running server, got from [Open]. Its methods may be
// called by several goroutines at once.
type Server struct {
	cluster *cluster
	conn    string
	cancel  context.CancelFunc

	done chan struct{} // closed when the goroutine that runs or awaits the server has ended
	err  error         // of stopping the server; read after done
}

// Open makes sure that a server runs on dir and returns a handle on it. It
// makes dir, the cluster and the database presencelog where they are missing.
//
// If another process has the server open, Open joins it and waits until it
// answers. If that process ends first, this one starts the server anew under
// the same connection string, so that a connection pool only has to reconnect.
// If the server dies, its owner restarts it. If the owner dies, so does the
// server on Linux; elsewhere the next owner stops it.
//
// Open fails if PostgreSQL is not installed, if dir/postgres is of another
// major version or is no cluster at all, if the directory cannot be used, and
// if ctx ends first. It never changes a cluster that it refuses. After Open has
// returned, ctx is of no consequence.
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
	lock, err := openLock(filepath.Join(dir, "postgres.lock"))
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
		if pf := c.readPidFile(); pf.ready() {
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
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for the process that holds %s to start the server: %w", lock.name(), err), lock.close())
		}
	}
}

// own starts the server on behalf of Open, with the lock held.
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

// newServer returns a handle that owns the process p, or that waits for the
// lock if p is nil.
func newServer(c *cluster, conn string, lock *lock, p *process) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cluster: c, conn: conn, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = errors.Join(s.run(ctx, lock, p), lock.close())
	}()
	return s
}

// ConnString returns the connection string of the database presencelog, in
// PostgreSQL's keyword=value form. It stays the same until Close.
func (s *Server) ConnString() string { return s.conn }

// Close stops the server if this process owns it, and returns when it has
// stopped. Transactions under way are rolled back. A server that is not down
// after 20 seconds is stopped the hard way, so that the next start has to
// recover; Close then returns an error, though no committed data is lost.
// Closing a guest leaves the server alone. Close may be called again and
// returns the same.
func (s *Server) Close() error {
	s.cancel()
	<-s.done
	return s.err
}

// run keeps the server running until ctx ends, as soon as this process owns
// it. It returns the error of stopping it.
func (s *Server) run(ctx context.Context, lock *lock, p *process) error {
	if p == nil {
		if err := lock.wait(ctx, s.cluster.log); err != nil {
			return nil // closed while a guest
		}
		s.cluster.log.Info("the owner of PostgreSQL has gone: taking over", "dir", s.cluster.dir)
	}
	// A server that has died is restarted after the least pause; one that does
	// not even start is tried again after growing ones.
	const least, most = 50 * time.Millisecond, time.Second
	for delay := least; ; delay = min(2*delay, most) {
		if p == nil {
			var err error
			if p, err = s.cluster.start(ctx); err != nil && ctx.Err() == nil {
				s.cluster.log.Error("cannot start PostgreSQL; trying again", "pause", delay, "error", err)
			}
		}
		if p != nil {
			select {
			case <-ctx.Done():
				return p.stop()
			case <-p.done:
			}
			s.cluster.log.Error("PostgreSQL has died; restarting it", "dir", s.cluster.dir, "pid", p.pid(), "error", p.err)
			p, delay = nil, least
		}
		if pause(ctx, delay) != nil {
			return nil
		}
	}
}

// ensureDatabase connects to the server and creates the database if it is
// missing. Two processes may do so at once.
func ensureDatabase(ctx context.Context, socket string) error {
	conn, err := pgx.Connect(ctx, connString(socket, database))
	if err == nil {
		_ = conn.Close(ctx)
		return nil
	}
	if code(err) != "3D000" { // invalid_catalog_name
		return fmt.Errorf("connect to the database %s: %w", database, err)
	}
	conn, err = pgx.Connect(ctx, connString(socket, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the database postgres: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	if c := code(err); err != nil && c != "42P04" && c != "23505" { // duplicate_database, unique_violation
		return fmt.Errorf("create the database %s: %w", database, err)
	}
	return nil
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// transient reports whether connecting may succeed later: the server does not
// answer, or it says that it is starting or shutting down (class 57).
func transient(err error) bool {
	if errors.Is(err, os.ErrPermission) {
		return false
	}
	c := code(err)
	return c == "" || strings.HasPrefix(c, "57")
}

func connString(socket, db string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(socket)
	return fmt.Sprintf("host='%s' port=%s user=postgres dbname=%s sslmode=disable", quoted, port, db)
}

// pause sleeps for d, or until ctx ends, in which case it says why.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
