//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// openAs makes this process, a copy of the test's, become nobody, open the spool that the variable names and print the error.
const openAs = "TEST_OPEN_AS_NOBODY"

func init() {
	dir := os.Getenv(openAs)
	if dir == "" {
		return
	}
	uid, gid, err := nobody()
	if err == nil {
		err = errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid))
	}
	if err == nil {
		_, err = Open(dir, plenty, slog.New(slog.DiscardHandler))
	}
	fmt.Print(err)
	os.Exit(0)
}

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

// A start as root leaves a spool that the service's own user cannot open.
func TestOpenNamesWhatBelongsToRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	uid, gid, err := nobody()
	if err != nil {
		t.Skip(err)
	}
	data, err := os.MkdirTemp("/tmp", "spool-") // not t.TempDir or $TMPDIR, which others may not be able to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	if err := os.Chown(data, uid, gid); err != nil {
		t.Fatal(err)
	}
	openAsNobody := func(dir string) string {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), openAs+"="+dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	dir := filepath.Join(data, "spool")
	own := filepath.Join(dir, "0")
	lock := filepath.Join(own, "lock")
	open(t, dir, plenty).Close() // all of it belongs to root
	for _, belongs := range []string{dir, own, lock} {
		const format = "permission denied: %s belongs to root, and this process runs as nobody; to repair: sudo chown -R nobody %s"
		want := fmt.Sprintf(format, belongs, dir)
		if got := openAsNobody(dir); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want it to end in %q", got, want)
		}
		if err := os.Chown(belongs, uid, gid); err != nil { // one level more is the user's
			t.Fatal(err)
		}
	}
	if got := openAsNobody(dir); got != fmt.Sprint(error(nil)) {
		t.Errorf("after the repair: %s", got)
	}
}

func TestAccessErrorNamesOwnerAndCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inner := filepath.Join(dir, "0")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	paths := []string{filepath.Join(inner, "lock"), inner, dir}
	denied := &fs.PathError{Op: "open", Path: inner, Err: fs.ErrPermission}
	me := os.Geteuid()
	const other = 4_000_001
	err := explainAccess(denied, other, paths...)
	want := fmt.Sprintf("%s belongs to %s, and this process runs as %d; to repair: sudo chown -R %d %s", inner, userName(me), other, other, dir)
	if !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want it to end in %q", err, want)
	}
	for name, same := range map[string]error{
		"the owner":     explainAccess(denied, me, paths...),
		"missing paths": explainAccess(denied, other, filepath.Join(dir, "1")),
	} {
		if same != error(denied) {
			t.Errorf("%s: got %q, want the error alone", name, same)
		}
	}
	if err := explainAccess(fs.ErrNotExist, other, paths...); err != fs.ErrNotExist {
		t.Errorf("another error became %q", err)
	}
}
