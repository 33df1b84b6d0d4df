package embedded

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestRefusesOtherVersion(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := Find(t.Context(), openTemp(t), slog.New(slog.DiscardHandler))
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
	dir := openTemp(t)
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "diary"), []byte("dear"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, data)
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), data+" is not empty and not a PostgreSQL cluster") {
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

func TestSpecialPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		strings.Repeat("long/", 35) + "path",
		"a, 'b' \"c\" \\d %e",
		"with space",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(openTemp(t), name)
			if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
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
	link := filepath.Join(openTemp(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, b := mustOpen(t, dir).ConnString(), mustOpen(t, link).ConnString(); a != b {
		t.Errorf("%s by its name, %s by the link", a, b)
	}
}

func TestOutdatedPIDFile(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	mustOpenClose(t, dir)

	// The process must belong to the server's user, or PostgreSQL itself knows that it is no server.
	fi, err := os.Stat(filepath.Join(dir, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	a := fileOwner(fi)
	cmd := exec.Command("sleep", "1000")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = procAttr(&a, syscall.SIGKILL)
	}
	cmd.Dir = "/"
	sleeping, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); <-sleeping.done }()

	outdated := fmt.Sprintf("%d\n%s/postgres\n1700000000\n5432\n%s\n\n  1234567         0\nready   \n", cmd.Process.Pid, dir, socketDir(dir))
	for _, path := range []string{filepath.Join(dir, "postgres", "postmaster.pid"), filepath.Join(dir, "postgres-socket", ".s.PGSQL.5432.lock")} {
		if err := os.WriteFile(path, []byte(outdated), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
			t.Fatal(err)
		}
	}
	mustQuery(t, mustOpen(t, dir).ConnString(), "SELECT 'works'")
	select {
	case <-sleeping.done:
		t.Error("the process with the outdated id was ended")
	default:
	}
}
