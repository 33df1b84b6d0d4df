package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperVar makes the test binary open the directory it names, print what
// became of it and close it at the end of its standard input.
const helperVar = "EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVar); dir != "" {
		s, err := Open(context.Background(), dir, Options{Settings: fast, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			fmt.Println(strings.ReplaceAll("error: "+err.Error(), "\n", " "))
			os.Exit(1)
		}
		fmt.Println(s.ConnString())
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err := s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if template.dir != "" {
		os.RemoveAll(template.dir)
	}
	os.Exit(code)
}

// fast makes clusters that need not survive the machine.
var fast = map[string]string{"fsync": "off"}

// helper is another process that has the server open.
type helper struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startHelper(t *testing.T, dir string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVar+"="+dir)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(func() { _ = h.close() })
	return h
}

// result is the connection string, or begins with "error: ".
func (h *helper) result(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the other process says nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

func (h *helper) close() error {
	h.stdin.Close()
	return h.cmd.Wait()
}

func (h *helper) kill() {
	h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// openTemp returns a directory on whose way every user may go, as opposed to
// t.TempDir.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "embedded-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// clusterDir returns a directory with a cluster that has never had an owner. It
// is a copy, since making one takes much longer.
func clusterDir(t *testing.T) string {
	t.Helper()
	template.Do(func() {
		template.dir, template.err = os.MkdirTemp("", "embedded-template-*")
		if template.err != nil {
			return
		}
		var s *Server
		if s, template.err = Open(context.Background(), template.dir, Options{Settings: fast}); template.err == nil {
			template.err = s.Close()
		}
	})
	if template.err != nil {
		t.Fatal(template.err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-Rp", filepath.Join(template.dir, "postgres"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the cluster: %v: %s", err, out)
	}
	return dir
}

var template struct {
	sync.Once
	dir string
	err error
}

func mustOpen(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{Settings: fast, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(conn string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgx.Connect(ctx, conn)
}

// query runs a statement in a connection of its own and returns its one value
// as text.
func query(conn, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := connect(conn)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	rows, err := c.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(values) == 0 {
		return "", err
	}
	return values[0], nil
}

func mustQuery(t *testing.T, conn, sql string) string {
	t.Helper()
	value, err := query(conn, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// eventually waits until ok returns nil and fails the test after ten seconds.
func eventually(t *testing.T, what string, ok func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := ok()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

func serverPid(t *testing.T, dir string) int {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	pf := (&cluster{dir: dir}).readPidFile()
	if pf.pid == 0 {
		t.Fatalf("%s has no server", dir)
	}
	return pf.pid
}

func noServer(dir string) error {
	c := &cluster{dir: dir}
	if pids := backends(context.Background(), c); len(pids) > 0 {
		return fmt.Errorf("processes %v still run on it", pids)
	}
	if pid := c.readPidFile().pid; pid != 0 {
		return fmt.Errorf("process %d still has the pid file", pid)
	}
	return nil
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b") // Open makes them
	s, err := Open(t.Context(), dir, Options{Settings: map[string]string{"work_mem": "7MB", "max_wal_size": "2GB", "listen_addresses": "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for setting, want := range map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "timezone": "UTC", "server_encoding": "UTF8",
		"work_mem": "7MB", "max_wal_size": "2GB", "checkpoint_timeout": "15min", "listen_addresses": "",
	} {
		if got := mustQuery(t, s.ConnString(), "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := mustQuery(t, s.ConnString(), "SELECT current_database()"); got != "presencelog" {
		t.Errorf("the database is %q", got)
	}
	config, err := pgx.ParseConfig(s.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(config.Host); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory of the socket: %v, %v; want mode 0700", fi.Mode(), err)
	}
	mustQuery(t, s.ConnString(), "CREATE TABLE t AS SELECT 'kept' AS v")

	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := noServer(dir); err != nil {
			t.Errorf("after Close: %v", err)
		}
	}
	again := mustOpen(t, dir)
	if got := mustQuery(t, again.ConnString(), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q from the reopened cluster", got)
	}
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Open(ctx, dir, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open: %v, want deadline exceeded", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Open took %v to give up", took)
	}
	mustOpenClose(t, dir)
	mustOpenClose(t, dir) // in case that something was still writing
	noLeftovers(t, dir)
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, initPrefix+"*")); len(left) > 0 {
		t.Errorf("left of initdb: %v", left)
	}
}

func TestKilledWhileMakingCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, file := range []string{"PG_VERSION", "global/pg_control", "base/4"} { // early, midway, late
		h := startHelper(t, dir)
		eventually(t, file, func() error {
			if found, _ := filepath.Glob(filepath.Join(dir, initPrefix+"*", file)); len(found) == 0 {
				return fs.ErrNotExist
			}
			return nil
		})
		h.kill()
		if _, err := os.Stat(filepath.Join(dir, "postgres")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a cluster after a kill at %s: %v", file, err)
		}
	}
	mustOpenClose(t, dir)
	mustOpenClose(t, dir) // in case that something was still writing
	noLeftovers(t, dir)
}

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

// TestThreadEnds ends the thread that called Open, which must not be taken for
// the end of the owner.
func TestThreadEnds(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	opened := make(chan *Server)
	go func() {
		defer close(opened)
		runtime.LockOSThread() // and never unlock, so that the thread ends
		s, err := Open(t.Context(), dir, Options{Settings: fast})
		if err != nil {
			t.Error(err)
			return
		}
		opened <- s
	}()
	s := <-opened
	if s == nil {
		return
	}
	defer s.Close()
	pid := serverPid(t, dir)
	time.Sleep(200 * time.Millisecond)
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

// TestServerLeftRunning has a server that did not die with its owner, as on
// systems that cannot arrange for that.
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
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
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
	default:
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

// mustOpenClose opens a directory once and returns the connection string.
func mustOpenClose(t *testing.T, dir string) string {
	t.Helper()
	s := mustOpen(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.ConnString()
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := mustOpen(t, dir)
	mustQuery(t, s.ConnString(), "CREATE TABLE t (n int)")
	var worst time.Duration
	for n := range 5 {
		mustQuery(t, s.ConnString(), fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
		// One backend that waits, and one that would not notice for hours.
		var running sync.WaitGroup
		for _, sql := range []string{"SELECT pg_sleep(3600)", "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b"} {
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

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
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

func TestRefusesOtherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := Find(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	version, err := binVersion(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	before := listing(t, data)
	for _, o := range []Options{{}, {Bin: bin}} {
		_, err = Open(t.Context(), dir, o)
		for _, want := range []string{"by PostgreSQL 8,", version, "install PostgreSQL 8", "export"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Open with %+v: %v, want an error with %q", o, err, want)
			}
		}
	}
	if after := listing(t, data); after != before {
		t.Errorf("the directory was\n%sand is\n%s", before, after)
	}
}

func TestRefusesForeignDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "diary"), []byte("dear"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, data)
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), data+" is not empty and no PostgreSQL cluster") {
		t.Errorf("Open: %v", err)
	}
	if after := listing(t, data); after != before {
		t.Errorf("the directory was\n%sand is\n%s", before, after)
	}

	// An empty directory is no loss.
	if err := os.Remove(filepath.Join(data, "diary")); err != nil {
		t.Fatal(err)
	}
	mustQuery(t, mustOpen(t, dir).ConnString(), "SELECT 'works'")
}

// listing describes a directory: owners, modes, times, names and sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, fileOwner(fi), fi.Mode(), fi.ModTime(), path, fi.Size())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		strings.Repeat("long/", 35) + "path",
		"a, 'b' \"c\" \\d %e",
		"with space",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), name)
			if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(clusterDir(t), dir); err != nil {
				t.Fatal(err)
			}
			owner := mustOpen(t, dir)
			h := startHelper(t, dir)
			if got := h.result(t); got != owner.ConnString() {
				t.Errorf("the guest connects to %s, the owner to %s", got, owner.ConnString())
			}
			mustQuery(t, owner.ConnString(), "SELECT 'works'")
			config, err := pgx.ParseConfig(owner.ConnString())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(config.Host, dir) {
				t.Cleanup(func() { os.RemoveAll(config.Host) })
			}
			if fi, err := os.Stat(config.Host); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("directory of the socket: %v, %v; want mode 0700", fi, err)
			}
		})
	}
}

func TestSymlink(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, b := mustOpen(t, dir).ConnString(), mustOpen(t, link).ConnString(); a != b {
		t.Errorf("%s by its name, %s by the link", a, b)
	}
}

func TestStalePidFile(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	mustOpenClose(t, dir)

	// The process must belong to the server's user, or PostgreSQL itself knows
	// that it is no server.
	fi, err := os.Stat(filepath.Join(dir, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	a := fileOwner(fi)
	cmd := exec.Command("sleep", "1000")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = procAttr(&a, false, syscall.SIGKILL)
	}
	cmd.Dir = "/"
	sleeping, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); <-sleeping.done }()

	stale := fmt.Sprintf("%d\n%s/postgres\n1700000000\n5432\n%s\n\n  1234567         0\nready   \n", cmd.Process.Pid, dir, socketDir(dir))
	for _, path := range []string{filepath.Join(dir, "postgres", "postmaster.pid"), filepath.Join(dir, "postgres-socket", ".s.PGSQL.5432.lock")} {
		if err := os.WriteFile(path, []byte(stale), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
			t.Fatal(err)
		}
	}
	mustQuery(t, mustOpen(t, dir).ConnString(), "SELECT 'works'")
	select {
	case <-sleeping.done:
		t.Error("the process with the stale id was ended")
	default:
	}
}

func TestErrorHasLog(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	mustOpenClose(t, dir)
	_, err := Open(t.Context(), dir, Options{Settings: map[string]string{"work_mem": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "work_mem": "plenty"`) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open with a bad setting: %v, want PostgreSQL's own words", err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	log := filepath.Join(dir, "postgres.log")
	if err := os.WriteFile(log, make([]byte, maxLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpenClose(t, dir)
	if fi, err := os.Stat(log); err != nil || fi.Size() > 100_000 || fi.Size() == 0 {
		t.Errorf("the log: %v, %v", fi.Size(), err)
	}
}
