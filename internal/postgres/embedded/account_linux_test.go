package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root runs PostgreSQL as another user")
	}
}

// capabilities returns the effective capabilities of a process in hexadecimal.
func capabilities(t *testing.T, pid string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, caps, _ := strings.Cut(string(b), "CapEff:")
	caps, _, _ = strings.Cut(caps, "\n")
	return strings.TrimSpace(caps)
}

func TestRootNeedsNoCapability(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := filepath.Join(openTemp(t), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	mustQuery(t, s.ConnString(), "SELECT 'works'")
	if caps := capabilities(t, strconv.Itoa(serverPid(t, dir))); strings.Trim(caps, "0") != "" {
		t.Errorf("the server has the capabilities %s, want none", caps)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o711 {
		t.Errorf("%s: %v, %v; want mode 0711", dir, fi.Mode(), err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "postgres")); err != nil || fi.Mode().Perm() != 0o700 || fileOwner(fi).uid == 0 {
		t.Errorf("the cluster: %v, %v; want mode 0700 and another owner than root", fi, err)
	}
}

// A server that may enter every directory could read every file for all its clients.
func TestRootGetsNoCapabilityBelowClosedDirectory(t *testing.T) {
	t.Parallel()
	needRoot(t)
	closed := filepath.Join(openTemp(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), filepath.Join(closed, "data"), Options{Settings: fast})
	if err == nil {
		s.Close()
		t.Fatal("the server entered a closed directory")
	}
	if !strings.Contains(err.Error(), "cannot enter "+closed+":") || !strings.Contains(err.Error(), "chmod o+x "+closed+")") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, filepath.Join(closed, "data"))
}

// TestRootRunsAsOwner opens the cluster of another user, who must be able to open it again.
func TestRootRunsAsOwner(t *testing.T) {
	t.Parallel()
	needRoot(t)
	nobody, err := lookupAccount("nobody")
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(openTemp(t), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(nobody.uid), int(nobody.gid)); err != nil {
		t.Fatal(err)
	}
	exe := copyExecutable(t)
	open := func() string {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), helperVar+"="+dir)
		cmd.SysProcAttr = procAttr(nobody, 0)
		cmd.Dir = "/"
		out, err := cmd.Output()
		if err != nil {
			t.Log(err)
		}
		return string(out)
	}
	if got := open(); !strings.HasPrefix(got, "host=") {
		t.Fatalf("the owner cannot open it: %s", got)
	}
	conn := mustOpenClose(t, dir)
	if got := open(); strings.TrimSpace(got) != conn {
		t.Errorf("the owner cannot open it after root: %s", got)
	}
}

// copyExecutable returns this program where every user can run it.
func copyExecutable(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openTemp(t), "embedded.test")
	writeProgram(t, path, b)
	return path
}

func TestSocketDirOfAnother(t *testing.T) {
	t.Parallel()
	needRoot(t)
	nobody, err := lookupAccount("nobody")
	if err != nil {
		t.Skip(err)
	}
	dir := clusterDir(t)
	mustOpenClose(t, dir)
	socket := filepath.Join(dir, "postgres-socket")
	if err := os.Chown(socket, int(nobody.uid), int(nobody.gid)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("Open with a foreign directory of the socket: %v", err)
	}
}
