package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

const (
	poll        = 3 * time.Millisecond
	fastTimeout = 20 * time.Second // for a server to stop with SIGINT
	quitTimeout = 5 * time.Second  // … and then with SIGQUIT
)

// certainty says whether a process is the server of a directory.
type certainty int

const (
	no    certainty = iota
	maybe           // a server, perhaps of another data directory
	yes
)

// step is a signal, and the timeout for processes to end after it.
type step struct {
	signal  syscall.Signal
	timeout time.Duration
}

// end sends the signals of the steps, and finally SIGKILL, to the processes that list returns, until there are none.
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
			if err := sleep(ctx, poll); err != nil {
				return err
			}
		}
	}
	return errors.New("the processes cannot be killed")
}

// command returns a command that runs a program of PostgreSQL as its user, in a clean environment. It is killed with its
// children if ctx ends.
func (c *cluster) command(ctx context.Context, death syscall.Signal, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/" // the user may lack access to the working directory
	cmd.Env = environ()
	cmd.SysProcAttr = procAttr(c.user, death)
	cmd.Cancel = func() error { kill(-cmd.Process.Pid, syscall.SIGKILL); return nil }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// environ returns this process's environment without the variables that affect PostgreSQL's programs.
func environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG")
	})
	return append(env, "LC_ALL=C")
}

// process is a child of this process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// launch starts a command. Linux signals a child when the thread that started it ends, so the thread must live as long as the
// child.
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
		_ = p.cmd.Process.Signal(s.signal) // the only error is that the process has ended
		select {
		case <-p.done:
			if s.signal == syscall.SIGINT {
				return nil
			}
			return fmt.Errorf("PostgreSQL did not stop within %v; it was shut down immediately and recovers at its next start", fastTimeout)
		case <-time.After(s.timeout):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("PostgreSQL did not stop within %v; it was killed and recovers at its next start", fastTimeout+quitTimeout)
}

// pidFile is the content of postmaster.pid.
type pidFile struct {
	pid    int
	socket string
	status string
}

func (pf pidFile) ready() bool { return pf.status == "ready" }

func (c *cluster) pidFile() string { return filepath.Join(c.data(), "postmaster.pid") }

// readPidFile returns the zero pidFile if there is none. A file that is being written may be incomplete.
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
	// A negative number means a standalone process. It must not be used: kill would signal a process group.
	if pid, err := strconv.Atoi(line(1)); err == nil && pid > 1 {
		pf.pid = pid
	}
	pf.socket = line(5)
	pf.status = line(8)
	return pf
}

// lastLines returns the end of an output, at most 20 lines and 4 KiB.
func lastLines(b []byte) []byte {
	b = bytes.TrimSpace(b)
	b = b[max(0, len(b)-4096):]
	lines := bytes.Split(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
