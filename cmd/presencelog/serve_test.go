package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// buildDir is where build puts the binary, "" until it does. TestMain takes it away.
var buildDir string

// build makes the binary once for all tests.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "presencelog-build-"); err != nil {
		return "", err
	}
	binary := filepath.Join(buildDir, "presencelog")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// installation is a data directory and the binary that works on it.
type installation struct {
	binary, dir string
	env         []string // besides what the test has
}

func install(t *testing.T) installation {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the binary and makes a cluster")
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: for root, PostgreSQL runs as another user, who cannot enter it.
	dir, err := os.MkdirTemp("", "presencelog-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return installation{binary: binary, dir: dir}
}

func (i installation) command(args ...string) *exec.Cmd {
	cmd := exec.Command(i.binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "PRESENCELOG_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "PRESENCELOG_DATA_DIR="+i.dir), i.env...)
	return cmd
}

// run runs a command that must succeed and returns what it prints.
func (i installation) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := i.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", args, err, &stderr)
	}
	return stdout.String()
}

var listens = regexp.MustCompile(`listens on (http://\S+),`)

// service is a running serve.
type service struct {
	*exec.Cmd
	ended chan struct{} // closed when it has ended; then there is a ProcessState
}

// stop ends the service as a service manager does.
func (s service) stop(t *testing.T) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(pgtest.Timeout):
		t.Fatal("serve does not stop")
	}
	if !s.ProcessState.Success() {
		t.Errorf("serve ended with %s", s.ProcessState)
	}
}

// serve starts the service and returns its address once it responds there.
func (i installation) serve(t *testing.T, flags ...string) (url string, s service) {
	t.Helper()
	cmd := i.command(append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...)
	var out pgtest.Output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	go func() { cmd.Wait(); close(ended) }()
	pgtest.Eventually(t, "serve listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("serve has ended: %s", &out)
		default:
		}
		m := listens.FindStringSubmatch(out.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url, service{cmd, ended}
}

const composing = `{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","instanceId":"i"`

func post(t *testing.T, url string, token ...string) {
	t.Helper()
	path := strings.Join(append([]string{"/webhooks/zapi"}, token...), "/")
	res, err := http.Post(url+path, "application/json", strings.NewReader(composing+"}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

func TestCommandsWhileServeRunsAndAfterwards(t *testing.T) {
	t.Parallel()
	i := install(t)
	url, serving := i.serve(t)
	post(t, url)
	if out := i.run(t, composing+`,"receivedAt":"2026-10-01T10:00:00Z"}`, "import"); !strings.HasPrefix(out, "added 1, ") {
		t.Errorf("import beside serve: %s", out)
	}
	old := []string{"timeline", "i", "5544999999999", "--from", "2026-10-01T00:00:00Z", "--to", "2026-10-01T10:00:01Z"}
	const span = "COMPOSING\t2026-10-01T10:00:00Z\t2026-10-01T10:00:25Z\t25\t0\t1\ttimeout\n"
	if out := i.run(t, "", old...); !strings.HasSuffix(out, span) {
		t.Errorf("timeline beside serve: %s", out)
	}
	if out := i.run(t, "", "export"); strings.Count(out, "\n") != 2 {
		t.Errorf("export beside serve: %s", out)
	}
	post(t, url) // serve still works after its guests have ended

	serving.stop(t)
	if out := i.run(t, "", old...); !strings.HasSuffix(out, span) {
		t.Errorf("timeline after serve: %s", out)
	}
	if out := i.run(t, "", "export"); strings.Count(out, "\n") != 3 {
		t.Errorf("export after serve: %s", out)
	}
	if _, err := os.Stat(filepath.Join(i.dir, "postgres", "postmaster.pid")); err == nil {
		t.Error("PostgreSQL still runs when no command does")
	}
}

func TestConcurrentCommands(t *testing.T) {
	t.Parallel()
	here := install(t)
	here.run(t, "", "migrate", "up")
	var commands sync.WaitGroup
	for range 6 {
		commands.Go(func() {
			for range 3 {
				if out, err := here.command("instances").CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			}
		})
	}
	commands.Wait()
}

func TestServeOpensPortBeforePostgreSQL(t *testing.T) {
	t.Parallel()
	i := install(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	out, err := i.command("serve", "--listen", taken.Addr().String()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("serve on a port in use: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(i.dir, "postgres")); err == nil {
		t.Error("a PostgreSQL cluster was created all the same")
	}
}

func TestServeLogsJSON(t *testing.T) {
	t.Parallel()
	i := install(t)
	cmd := i.command("serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug")
	cmd.Env = append(cmd.Env, "DATABASE_URL=postgres://127.0.0.1:1/none")
	var out pgtest.Output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	pgtest.Eventually(t, "a message as JSON", func() bool {
		for line := range strings.Lines(out.String()) {
			var message struct{ Time, Level, Msg string }
			if json.Unmarshal([]byte(line), &message) == nil && message.Level == "ERROR" && strings.Contains(message.Msg, "database") {
				return true
			}
		}
		return false
	})
}

func TestBaseURLCanBeOpened(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"[::]:0", "0.0.0.0:0", "127.0.0.1:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil && address == "[::]:0" { // a machine without IPv6
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		url := baseURL(listener.Addr())
		if strings.Contains(url, "[::]") || strings.Contains(url, "0.0.0.0") {
			t.Errorf("%s prints %s", address, url)
		}
		go http.Serve(listener, http.NotFoundHandler())
		res, err := http.Get(url)
		if err != nil {
			t.Errorf("%s prints %s, which cannot be opened: %v", address, url, err)
			continue
		}
		res.Body.Close()
	}
}

// TestUpgradeByExportAndImport does what the README says. The programs of another version are those that
// PRESENCELOG_POSTGRES_BIN names, if it is set; else both are of the same.
func TestUpgradeByExportAndImport(t *testing.T) {
	t.Parallel()
	before, after := install(t), install(t)
	with := func(args ...string) []string {
		if bin := os.Getenv("PRESENCELOG_POSTGRES_BIN"); bin != "" {
			args = append(args, "--postgres-bin", bin)
		}
		return args
	}
	before.run(t, composing+`,"receivedAt":"2026-10-01T10:00:00Z"}`, "import")
	events := before.run(t, "", "export")
	if n := strings.Count(events, "\n"); n != 1 {
		t.Fatalf("exported %d events", n)
	}
	after.run(t, events, with("import")...)
	if got := after.run(t, "", with("export")...); got != events {
		t.Errorf("after the upgrade the events are %s, want %s", got, events)
	}
}

func TestPostgreSQLEndsWithKilledService(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux does the server end with its owner")
	}
	i := install(t)
	url, serving := i.serve(t)
	post(t, url)
	content, err := os.ReadFile(filepath.Join(i.dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(content), "\n")
	alive := func() bool { // a zombie that nobody has reaped is not
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err == nil && !bytes.Contains(stat, []byte(") Z "))
	}
	if !alive() {
		t.Fatalf("PostgreSQL does not run as process %s", pid)
	}
	if err := serving.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "PostgreSQL ends with the service that was killed", func() bool { return !alive() })
	if out := i.run(t, "", "export"); strings.Count(out, "\n") != 1 {
		t.Errorf("what was acknowledged before the kill: %q", out)
	}
}
