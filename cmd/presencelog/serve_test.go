package main

import (
	"bytes"
	"fmt"
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
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// installation is a data directory and the binary that works on it.
type installation struct{ binary, dir string }

func install(t *testing.T) installation {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the binary and makes a cluster")
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: PostgreSQL runs as another user if this is root, who may not enter it.
	dir, err := os.MkdirTemp("", "presencelog-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return installation{binary, dir}
}

func (i installation) command(args ...string) *exec.Cmd {
	cmd := exec.Command(i.binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "PRESENCELOG_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PRESENCELOG_DATA_DIR="+i.dir)
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

// output collects what a process prints while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var listens = regexp.MustCompile(`listens on (http://\S+),`)

// serve starts the service and returns its address once it answers there.
func (i installation) serve(t *testing.T) (url string, cmd *exec.Cmd) {
	t.Helper()
	cmd = i.command("serve", "--listen", "127.0.0.1:0")
	var out output
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
	until(t, "serve listens", func() bool {
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
	return url, cmd
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func gone(cmd *exec.Cmd) func() bool {
	return func() bool { return cmd.Process.Signal(syscall.Signal(0)) != nil }
}

const composing = `{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","instanceId":"i"`

func post(t *testing.T, url string) {
	t.Helper()
	res, err := http.Post(url+"/webhooks/zapi", "application/json", strings.NewReader(composing+"}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

func TestCommandsWorkBesideTheServiceAndAfterIt(t *testing.T) {
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
	post(t, url) // serve goes on after its guests have gone

	if err := serving.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "serve stops", gone(serving))
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

func TestKillingTheServiceLeavesNoPostgreSQLBehind(t *testing.T) {
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
	until(t, "PostgreSQL ends with the service that was killed", func() bool { return !alive() })
	if out := i.run(t, "", "export"); strings.Count(out, "\n") != 1 {
		t.Errorf("what was acknowledged before the kill: %q", out)
	}
}
