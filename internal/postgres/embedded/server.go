package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// port is only used in the socket's name.
const port = "5432"

// maxLog is the size in bytes above which the server's log is truncated before a start.
const maxLog = 10 << 20

// defaults are for a small durable server; Options.Settings overrides them.
var defaults = map[string]string{
	"autovacuum":         "on",
	"checkpoint_timeout": "15min",
	"cluster_name":       "presencelog",
	"jit":                "off",
	"log_line_prefix":    "%m [%p] ",
	"log_timezone":       "UTC",
	"max_connections":    "100",
	"max_wal_size":       "4GB",
	"shared_buffers":     "128MB",
	"timezone":           "UTC",
}

// arguments returns the arguments of postgres.
func (c *cluster) arguments() []string {
	s := maps.Clone(defaults)
	maps.Copy(s, c.settings)
	maps.Copy(s, map[string]string{ // keep the server private
		"hba_file":                c.hbaFile(),
		"listen_addresses":        "",
		"log_destination":         "stderr",
		"logging_collector":       "off",
		"port":                    port,
		"unix_socket_directories": c.socket,
		"unix_socket_permissions": "0700",
	})
	args := []string{"-D", c.data()}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		args = append(args, "-c", k+"="+s[k])
	}
	return args
}

// hba lets the owner of the database connect without a password, since only root and the server's user can open the socket.
// Other roles need a password, and cannot connect to databases without restricted rights.
const hba = `local all postgres trust
local postgres,template1 all reject
local all all scram-sha-256
`

func (c *cluster) hbaFile() string { return filepath.Join(c.dir, "postgres-hba.conf") }

// writeHBA writes the file that says who may connect. It is not in the cluster, where initdb has created one that needs no
// passwords.
func (c *cluster) writeHBA() error {
	if err := os.WriteFile(c.hbaFile(), []byte(hba), 0o644); err != nil {
		return err
	}
	return os.Chmod(c.hbaFile(), 0o644) // regardless of the umask: another user may run the server
}

// start starts the server and returns when it is ready. It creates the cluster if there is none, and stops processes of an
// earlier server. The caller holds the lock. If start fails, no process is left.
func (c *cluster) start(ctx context.Context) (*process, error) {
	if c.bin == "" {
		if err := c.prepare(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.stopLeftover(ctx); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		p, err := c.startOnce(ctx)
		// Backends of a dead server that were not found block the start until they notice its end.
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(deadline) {
			return p, err
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return nil, err
		}
	}
}

func (c *cluster) startOnce(ctx context.Context) (*process, error) {
	begin := time.Now()
	if err := c.writeHBA(); err != nil {
		return nil, err
	}
	log, size, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own

	// ctx is for the start only: its end must not kill the server.
	cmd := c.command(context.Background(), syscall.SIGINT, filepath.Join(c.bin, "postgres"), c.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	for {
		if pf := c.readPidFile(); pf.pid == p.pid() && pf.ready() {
			c.log.Info("started PostgreSQL", "dir", c.dir, "pid", p.pid(), "took", time.Since(begin).Round(time.Millisecond))
			return p, nil
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("postgres does not start (%w); the end of %s:\n%s", cmp.Or(p.err, errors.New("exit status 0")), log.Name(), tail(log.Name(), size))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("start postgres: %w", context.Cause(ctx)), p.stop())
		case <-time.After(poll):
		}
	}
}

// openLog opens the server's log and returns its size in bytes.
func (c *cluster) openLog() (*os.File, int64, error) {
	path := filepath.Join(c.dir, "postgres.log")
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		if err := os.Truncate(path, 0); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open the log of PostgreSQL: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, fi.Size(), nil
}

// tail returns the last lines of a file after its first skip bytes.
func tail(path string, skip int64) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return lastLines(b[min(skip, int64(len(b))):])
}

// stopLeftover stops a server whose owner ended, and the backends of a dead server, and removes files that would block the next
// start.
func (c *cluster) stopLeftover(ctx context.Context) error {
	pf := c.readPidFile()
	if pf.pid != 0 && isPostmaster(pf.pid, c.data()) == yes {
		c.log.Info("stopping the PostgreSQL of an owner that ended", "dir", c.dir, "pid", pf.pid)
		if err := end(ctx, func() []int {
			if isPostmaster(pf.pid, c.data()) == yes {
				return []int{pf.pid}
			}
			return nil
		}, step{syscall.SIGINT, fastTimeout}, step{syscall.SIGQUIT, quitTimeout}); err != nil {
			return fmt.Errorf("stop the PostgreSQL left with process id %d: %w", pf.pid, err)
		}
	}
	// Backends that outlive their server may be busy for long and block a new one. Their uncommitted work is lost anyway.
	if err := end(ctx, func() []int { return backends(ctx, c) }, step{syscall.SIGQUIT, quitTimeout}); err != nil {
		return fmt.Errorf("stop the backends left in %s: %w", c.data(), err)
	}
	// PostgreSQL does not start if another process of its user has the process id in one of these files. Remove them if that
	// process is not our server: PostgreSQL still checks by its shared memory that no backend is left. If it may be our server,
	// keep them. If there is no such process, PostgreSQL uses the file for a second check.
	if isPostmaster(pf.pid, c.data()) == maybe {
		return nil
	}
	names := []string{filepath.Join(c.socket, ".s.PGSQL."+port+".lock")}
	if pf.pid != 0 && alive(pf.pid) {
		names = append(names, c.pidFile())
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
