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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperVar makes the test binary open the directory it names, print what became of it and close it at the end of its standard
// input.
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

// openTemp returns a directory on whose way every user may go, as opposed to t.TempDir.
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

// clusterDir returns a directory with a cluster that has never had an owner. It is a copy, since making one takes much longer.
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
	dir := openTemp(t)
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return pgx.Connect(ctx, conn)
}

// query runs a statement in a new connection and returns its one value as text.
func query(conn, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

// eventually waits until ok returns nil and fails the test after two minutes.
func eventually(t *testing.T, what string, ok func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := ok()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > 2*time.Minute {
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
	dir := filepath.Join(openTemp(t), "a", "b") // Open makes them
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
	dir := openTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, dir, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open: %v, want deadline exceeded", err)
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

func TestKilledDuringInitdb(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	for _, file := range []string{"PG_VERSION", "global/pg_control", "base/4"} { // early, midway, late
		for killed := false; !killed; {
			h := startHelper(t, dir)
			eventually(t, file, func() error {
				found, _ := filepath.Glob(filepath.Join(dir, initPrefix+"*", file))
				if _, err := os.Stat(filepath.Join(dir, "postgres")); len(found) == 0 && err != nil {
					return err
				}
				return nil
			})
			h.kill()
			_, err := os.Stat(filepath.Join(dir, "postgres"))
			if killed = errors.Is(err, fs.ErrNotExist); !killed {
				// On a busy machine initdb may have been faster than this. Then the cluster must be complete.
				t.Logf("there is a cluster after a kill at %s: %v", file, err)
				mustOpenClose(t, dir)
				if err := os.RemoveAll(filepath.Join(dir, "postgres")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mustOpenClose(t, dir)
	mustOpenClose(t, dir) // in case that something was still writing
	noLeftovers(t, dir)
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

func TestStartErrorHasLog(t *testing.T) {
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
