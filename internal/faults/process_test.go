//go:build linux

package faults

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// process is a child that ends with the test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a program. Linux kills it when the thread that started it ends, so that thread waits.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	must(t, <-started)
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill kills the process and its children and waits until they have ended.
func (p *process) kill() {
	if !p.running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGSTOP) // it must start no more children
	for _, child := range children(p.pid()) {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// quit has PostgreSQL shut down at once. Killed instead, it would leave its shared memory to the machine, and that of many
// tests could fill /dev/shm.
func (p *process) quit() {
	if !p.running() {
		return
	}
	p.signalAll(syscall.SIGCONT) // frozen processes do not end
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

// signalAll signals the process first, and then its children.
func (p *process) signalAll(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	for _, child := range children(p.pid()) {
		_ = syscall.Kill(child, s)
	}
}

// end terminates the process and waits.
func (p *process) end(t testing.TB, s syscall.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(pgtest.Timeout):
		p.kill()
		t.Errorf("%s did not end in %s", filepath.Base(p.cmd.Path), pgtest.Timeout)
	}
}

func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// "pid (name) state parent …", and the name may hold anything.
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// command returns a command, to run as PostgreSQL's user if forPostgres is set and this is root.
func command(forPostgres bool, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") ||
			strings.HasPrefix(kv, "PRESENCELOG_") || strings.HasPrefix(kv, "DATABASE_URL=")
	})
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	if uid, gid, err := postgresUser(); forPostgres && err == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	return cmd
}

// postgresUser returns the user that runs PostgreSQL if this is root.
func postgresUser() (uid, gid uint32, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, errors.New("not root")
	}
	for _, name := range []string{"postgres", "nobody"} {
		var u *user.User
		if u, err = user.Lookup(name); err == nil {
			id, _ := strconv.ParseUint(u.Uid, 10, 32)
			group, _ := strconv.ParseUint(u.Gid, 10, 32)
			return uint32(id), uint32(group), nil
		}
	}
	return 0, 0, err
}

// makeForPostgres creates a directory owned by PostgreSQL's user.
func makeForPostgres(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if uid, gid, err := postgresUser(); err == nil {
		return os.Chown(dir, int(uid), int(gid))
	}
	return nil
}

// tail returns the end of a file.
func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "")
}
