package main

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// confine makes this process, a copy of the test's, the binary that the variable names, with the least that a service needs.
const confine = "TEST_CONFINE"

const cannotConfine = 77 // the exit status where this is not permitted

func init() {
	binary := os.Getenv(confine)
	if binary == "" {
		return
	}
	err := becomeConfined(binary, os.Getenv("PRESENCELOG_DATA_DIR"))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(cannotConfine)
}

// becomeConfined runs the binary in place of this process: as nobody, without capabilities, on a file system of which nothing
// but the data directory can be written.
func becomeConfined(binary, dataDir string) error {
	// An init function has the main thread for itself, and that is the one which becomes the binary.
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount(dataDir, dataDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("a mount of the data directory: %w", err)
	}
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, readOnly); err != nil {
		return fmt.Errorf("read-only mounts: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, dataDir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("a writable data directory: %w", err)
	}
	uid, gid, err := nobody()
	if err != nil {
		return err
	}
	for capability := 0; unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0) == nil; capability++ {
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	for _, err := range []error{syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid)} {
		if err != nil {
			return err
		}
	}
	return syscall.Exec(binary, append([]string{binary}, os.Args[1:]...), os.Environ())
}

// nobody is a user that exists everywhere: initdb needs the name of its user.
func nobody() (uid, gid int, err error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// A service that is taken over can change nothing on its machine but its own data.
func TestServiceNeedsOnlyItsDataDirectory(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a file system read-only")
	}
	i := install(t)
	uid, gid, err := nobody()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(i.dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(i.binary), 0o755); err != nil {
		t.Fatal(err)
	}
	i.env = append(i.env, confine+"="+i.binary)
	if i.binary, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	probe := i.command("--version")
	if out, err := probe.CombinedOutput(); probe.ProcessState != nil && probe.ProcessState.ExitCode() == cannotConfine {
		t.Skipf("this machine does not permit it: %s", out)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	i.run(t, "", "token", "create", "gateway", "--scope", "webhook", "--instance", "another")
	i.env = append(i.env, "PRESENCELOG_WEBHOOK_TOKENS=hook")
	for _, start := range []string{"first", "second"} { // with a new cluster, and with the one that is there
		url, serving := i.serve(t)
		checkConfined(t, serving.Process.Pid, i.dir)
		post(t, url, "hook")
		res, err := http.Get(url + "/v1/instances/i/contacts/5544999999999/events")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), `"COMPOSING"`) {
			t.Errorf("%s start: what was posted is not there (%v): %s", start, err, body)
		}
		serving.stop(t)
	}
	if out := i.run(t, "", "export"); strings.Count(out, "\n") != 2 {
		t.Errorf("export: %s", out)
	}
	checkPrivate(t, i.dir)
}

// checkPrivate checks that others can read nothing in the data directory. The rules for connecting are not secret.
func checkPrivate(t *testing.T, dataDir string) {
	t.Helper()
	files := 0
	if err := filepath.WalkDir(dataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dataDir || entry.Name() == "postgres-hba.conf" {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may use %s: %s", path, info.Mode())
		}
		files++
		return err
	}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"spool", "spool-rejected", "postgres", "postgres.log", "webhook-tokens.json"} {
		if _, err := os.Stat(filepath.Join(dataDir, name)); err != nil || files < 100 {
			t.Errorf("%d files, not %s (%v)", files, name, err)
		}
	}
}

// checkConfined checks that the test tests something: what the kernel says that the process may do.
func checkConfined(t *testing.T, pid int, dataDir string) {
	t.Helper()
	of := func(name string) string {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	status := of("status")
	for _, want := range []string{`CapEff:\t0+\n`, `CapBnd:\t0+\n`, `NoNewPrivs:\t1\n`, `Groups:\t *\n`} {
		if !regexp.MustCompile(want).MatchString(status) {
			t.Errorf("the service is not as %s says:\n%s", want, status)
		}
	}
	if regexp.MustCompile(`(?m)^[UG]id:.*\t0\b`).MatchString(status) {
		t.Errorf("the service is root:\n%s", status)
	}
	for mount := range strings.Lines(of("mountinfo")) {
		fields := strings.Fields(mount)
		if writable := !strings.HasPrefix(fields[5], "ro"); writable != (fields[4] == dataDir) {
			t.Errorf("whether this can be written: %t: %s", writable, mount)
		}
	}
}
