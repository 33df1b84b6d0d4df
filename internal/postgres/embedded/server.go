package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// port is part of the socket's name and means nothing else.
const port = "5432"

// maxLog is the size in bytes from which on the server's log is emptied before
// the server is started.
const maxLog = 10 << 20

const (
	poll        = 3 * time.Millisecond
	fastTimeout = 20 * time.Second // for a server to stop with SIGINT
	quitTimeout = 5 * time.Second  // … and then with SIGQUIT
)

// defaults are for a small durable server; Options.Settings may change them.
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
	maps.Copy(s, map[string]string{ // what keeps the server private
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

// start starts the server and returns when it is ready. It makes the cluster if
// there is none, and first ends what is left of an earlier server. It needs the
// lock. If it fails, nothing is left running.
func (c *cluster) start(ctx context.Context) (*process, error) {
	if c.bin == "" {
		if err := c.prepare(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.stopLeftover(ctx); err != nil {
		return nil, err
	}
	for {
		p, err := c.startOnce(ctx)
		// Backends of a dead server that could not be ended are in the way
		// until they notice.
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") {
			return p, err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return nil, err
		}
	}
}

func (c *cluster) startOnce(ctx context.Context) (*process, error) {
	begin := time.Now()
	log, size, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own

	// The context is not for the server, which must not be killed.
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
			return nil, fmt.Errorf("postgres does not start (%w); the end of %s:\n%s", exitError(p.err), log.Name(), tail(log.Name(), size))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("start postgres: %w", context.Cause(ctx)), p.stop())
		case <-time.After(poll):
		}
	}
}

// exitError returns err, or an error if there is none.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
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

// tail returns the last lines of what a file has beyond its first skip bytes.
func tail(path string, skip int64) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return lastLines(b[min(skip, int64(len(b))):])
}

// stopLeftover stops a server whose owner has gone, and the backends of one
// that is itself dead, and removes what would mislead the next server.
func (c *cluster) stopLeftover(ctx context.Context) error {
	pf := c.readPidFile()
	if pf.pid != 0 && isPostmaster(pf.pid, c.data()) == yes {
		c.log.Info("stopping the PostgreSQL of an owner that has gone", "dir", c.dir, "pid", pf.pid)
		if err := end(ctx, func() []int {
			if isPostmaster(pf.pid, c.data()) == yes {
				return []int{pf.pid}
			}
			return nil
		}, step{syscall.SIGINT, fastTimeout}, step{syscall.SIGQUIT, quitTimeout}); err != nil {
			return fmt.Errorf("stop the PostgreSQL left with process id %d: %w", pf.pid, err)
		}
	}
	// Backends that outlive their server may be busy for long, and no new
	// server starts beside them. What they have not committed is lost anyway.
	if err := end(ctx, func() []int { return backends(c.data()) }, step{syscall.SIGQUIT, quitTimeout}); err != nil {
		return fmt.Errorf("stop the backends left in %s: %w", c.data(), err)
	}
	// PostgreSQL does not start if another process of its user has got the
	// process id in one of these files. If that process is no server of ours we
	// know better, and that no backend is left PostgreSQL still checks by its
	// shared memory. If it may be one, PostgreSQL's refusal is right. And if
	// there is no such process, PostgreSQL uses the file for a second check.
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

// answer is what can be said of a process that may be a server.
type answer int

const (
	no    answer = iota
	maybe        // a server, but perhaps of another data directory
	yes
)

// step is a signal and how long processes have to end with it.
type step struct {
	signal  syscall.Signal
	timeout time.Duration
}

// end ends the processes that list returns, until it returns none, with one
// step after the other and finally with SIGKILL.
func end(ctx context.Context, list func() []int, steps ...step) error {
	for _, s := range append(steps, step{syscall.SIGKILL, time.Hour}) {
		signalled := map[int]bool{}
		for deadline := time.Now().Add(s.timeout); time.Now().Before(deadline); {
			pids := list()
			if len(pids) == 0 {
				return nil
			}
			for _, pid := range pids {
				if !signalled[pid] {
					kill(pid, s.signal)
					signalled[pid] = true
				}
			}
			if err := pause(ctx, poll); err != nil {
				return err
			}
		}
	}
	return errors.New("they cannot be killed")
}

// process is a child of this process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// launch starts a command. Linux signals a child when the thread that started
// it ends, so that thread must live as long as the child does.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop stops the server, rolling back the transactions under way.
func (p *process) stop() error {
	for _, s := range []step{{syscall.SIGINT, fastTimeout}, {syscall.SIGQUIT, quitTimeout}} {
		_ = p.cmd.Process.Signal(s.signal) // no error but that it has ended
		select {
		case <-p.done:
			if s.signal == syscall.SIGINT {
				return nil
			}
			return fmt.Errorf("PostgreSQL did not stop within %v; it was stopped at once and recovers at its next start", fastTimeout)
		case <-time.After(s.timeout):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("PostgreSQL did not stop within %v; it was killed and recovers at its next start", fastTimeout+quitTimeout)
}

// pidFile is what a server writes to postmaster.pid.
type pidFile struct {
	pid    int
	socket string
	status string
}

func (pf pidFile) ready() bool { return pf.status == "ready" }

func (c *cluster) pidFile() string { return filepath.Join(c.data(), "postmaster.pid") }

// readPidFile returns the zero pidFile if there is none, and what there is of
// one that is being written.
func (c *cluster) readPidFile() (pf pidFile) {
	b, err := os.ReadFile(c.pidFile())
	if err != nil {
		return pf
	}
	lines := bytes.Split(b, []byte("\n"))
	line := func(n int) string {
		if n > len(lines) {
			return ""
		}
		return string(bytes.TrimSpace(lines[n-1]))
	}
	// A negative number stands for a process that is no server; and no number
	// in a file may ever make us signal a group of processes.
	if pid, err := strconv.Atoi(line(1)); err == nil && pid > 1 {
		pf.pid = pid
	}
	pf.socket = line(5)
	pf.status = line(8)
	return pf
}
