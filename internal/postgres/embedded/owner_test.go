package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestGuest(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	h := startHelper(t, dir)
	conn := h.result(t)
	mustQuery(t, conn, "CREATE TABLE t AS SELECT 'shared' AS v")
	pid := serverPid(t, dir)

	short := mustOpen(t, dir)
	s := mustOpen(t, dir)
	if s.ConnString() != conn {
		t.Errorf("the guest connects to %s, the owner to %s", s.ConnString(), conn)
	}
	if got := mustQuery(t, s.ConnString(), "SELECT v FROM t"); got != "shared" {
		t.Errorf("the guest reads %q", got)
	}
	c, err := connect(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if err := short.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT pg_sleep(0.1)"); err != nil {
		t.Errorf("a guest has closed: %v", err)
	}
	if got := serverPid(t, dir); got != pid {
		t.Errorf("the server is process %d and was %d: a guest must leave it alone", got, pid)
	}

	// The owner ends: the guest carries on.
	if err := h.close(); err != nil {
		t.Error(err)
	}
	blip := eventually(t, "query after the owner has closed", func() error {
		got, err := query(conn, "SELECT v FROM t")
		if err == nil && got != "shared" {
			t.Fatalf("the guest reads %q", got)
		}
		return err
	})
	t.Logf("the guest served %v after the owner had ended", blip)

	// And is an owner like any other.
	h = startHelper(t, dir)
	if got := h.result(t); got != conn {
		t.Errorf("the new guest connects to %s, want %s", got, conn)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "query after the second owner has closed", func() error { _, err := query(conn, "SELECT v FROM t"); return err })

	// Now the owner is killed, with a guest waiting.
	s = mustOpen(t, dir)
	h.kill()
	mustQuery(t, mustOpen(t, dir).ConnString(), "SELECT v FROM t")
	eventually(t, "query after the third owner was killed", func() error { _, err := query(conn, "SELECT v FROM t"); return err })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// waitNotice is a log that closes seen when the owner says that it waits for other processes.
type waitNotice struct {
	slog.Handler
	seen chan struct{}
}

func (*waitNotice) Enabled(context.Context, slog.Level) bool { return true }

func (n *waitNotice) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "waiting for other processes") {
		close(n.seen) // it says so once
	}
	return nil
}

func TestOwnerAwaitsBriefGuests(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	waits := make(chan struct{})
	log := slog.New(&waitNotice{Handler: slog.DiscardHandler, seen: waits})
	owner, err := Open(t.Context(), dir, Options{Settings: fast, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close() })
	lasting := mustOpen(t, dir)
	guest, err := Open(t.Context(), dir, Options{Settings: fast, Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	c, err := connect(guest.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	closed := make(chan error, 1)
	go func() {
		owner.AwaitGuests(t.Context())
		closed <- owner.Close()
	}()
	select {
	case <-waits:
	case err := <-closed:
		t.Fatalf("the owner has closed without waiting (%v)", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("the owner does not say that it waits")
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the owner has not waited: %v", err)
	}
	guest.AwaitGuests(t.Context()) // a guest has none
	if err := errors.Join(guest.Close(), <-closed); err != nil {
		t.Error(err)
	}
	eventually(t, "query after the owner has closed", func() error {
		_, err := query(lasting.ConnString(), "SELECT 1::text")
		return err
	})
}

// TestStarterThreadExits ends the thread that called Open, which must not be taken for the end of the owner.
func TestStarterThreadExits(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	opened := make(chan *Server)
	var thread string // its directory
	var open func()
	open = func() {
		runtime.LockOSThread()
		if runtime.GOOS == "linux" {
			task, err := os.Readlink("/proc/thread-self")
			if err != nil {
				t.Error(err)
				close(opened)
				return
			}
			if filepath.Base(task) == fmt.Sprint(os.Getpid()) { // the first thread never ends: while it is held, another opens
				defer runtime.UnlockOSThread()
				another := make(chan struct{})
				go func() { defer close(another); open() }()
				<-another
				return
			}
			thread = filepath.Join("/proc", task)
		}
		defer close(opened)
		s, err := Open(t.Context(), dir, Options{Settings: fast})
		if err != nil {
			t.Error(err)
			return
		}
		opened <- s // and never unlock, so that the thread ends
	}
	go open()
	s := <-opened
	if s == nil {
		return
	}
	defer s.Close()
	pid := serverPid(t, dir)
	if thread != "" {
		eventually(t, "the end of the thread", func() error {
			if _, err := os.Stat(thread); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is still there (%v)", thread, err)
			}
			return nil
		})
	}
	mustQuery(t, s.ConnString(), "SELECT 'works'")
	if got := serverPid(t, dir); got != pid {
		t.Errorf("the server is process %d and was %d", got, pid)
	}
}

func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	h := startHelper(t, dir)
	conn := h.result(t)
	mustQuery(t, conn, "CREATE TABLE t AS SELECT 'committed' AS v")
	busy, err := connect(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close(t.Context())
	go busy.Exec(t.Context(), "SELECT pg_sleep(3600)")

	h.kill()
	if runtime.GOOS == "linux" {
		took := eventually(t, "server of the killed owner", func() error { return noServer(dir) })
		t.Logf("the server ended %v after its owner", took)
	}
	s := mustOpen(t, dir)
	if got := mustQuery(t, s.ConnString(), "SELECT v FROM t"); got != "committed" {
		t.Errorf("got %q", got)
	}
}

// TestServerLeftRunning has a server that did not die with its owner, as on systems that cannot arrange for that.
func TestServerLeftRunning(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: resolved, settings: fast, log: slog.New(slog.DiscardHandler)}
	if err := c.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := c.startOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Neither a link to the directory nor one in it hides the server.
	link := filepath.Join(openTemp(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(openTemp(t), "moved")
	if err := os.Rename(filepath.Join(dir, "postgres"), moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(moved, filepath.Join(dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, link)
	if got := serverPid(t, dir); got == left.pid() {
		t.Errorf("the server is still process %d", got)
	}
	mustQuery(t, s.ConnString(), "SELECT 'works'")
	select {
	case <-left.done:
	case <-time.After(2 * time.Minute): // who waits for it may notice late
		t.Error("the old server still runs")
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "received fast shutdown request") || strings.Contains(string(log), "was not properly shut down") {
		t.Errorf("the old server was not shut down well:\n%s", log)
	}
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := mustOpen(t, dir)
	mustQuery(t, s.ConnString(), "CREATE TABLE t (n int)")
	var worst time.Duration
	for n := range 5 {
		mustQuery(t, s.ConnString(), fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
		// One backend that waits, and one that would not notice for hours. It writes nothing: that could fill the disk.
		var running sync.WaitGroup
		for _, sql := range []string{"SELECT pg_sleep(3600)", "SELECT count(*) FROM (SELECT generate_series(1, 1000000000000)) AS s"} {
			c, err := connect(s.ConnString())
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				if _, err := c.Exec(t.Context(), sql); err == nil {
					t.Errorf("%s has ended without an error", sql)
				}
				c.Close(t.Context())
			})
		}
		eventually(t, "busy backends", func() error {
			if got := mustQuery(t, s.ConnString(), "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT%' AND pid <> pg_backend_pid()"); got != "2" {
				return fmt.Errorf("there are %s", got)
			}
			return nil
		})
		pid := serverPid(t, dir)
		kill(pid, syscall.SIGKILL)
		took := eventually(t, "query after the server was killed", func() error {
			_, err := query(s.ConnString(), "SELECT 1::text")
			if err == nil && serverPid(t, dir) == pid {
				err = errors.New("it has not been restarted")
			}
			return err
		})
		worst = max(worst, took)
		running.Wait()
		if got, want := mustQuery(t, s.ConnString(), "SELECT count(*)::text FROM t"), fmt.Sprint(n+1); got != want {
			t.Fatalf("%s rows after %s commits", got, want)
		}
	}
	t.Logf("the server was back after at most %v", worst)
}

func TestOpenConcurrently(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	var helpers []*helper
	for range 3 {
		helpers = append(helpers, startHelper(t, dir))
	}
	s := mustOpen(t, dir)
	conns := []string{s.ConnString()}
	for _, h := range helpers {
		conns = append(conns, h.result(t))
	}
	pid := serverPid(t, dir)
	if got := slices.Compact(conns); len(got) != 1 {
		t.Errorf("different connection strings: %q", got)
	}
	if runtime.GOOS == "linux" {
		c := &cluster{dir: dir}
		for _, p := range backends(t.Context(), c) {
			if p != pid && isPostmaster(p, c.data()) == yes {
				t.Errorf("the servers %d and %d run on one directory", pid, p)
			}
		}
	}
	noLeftovers(t, dir)
}
