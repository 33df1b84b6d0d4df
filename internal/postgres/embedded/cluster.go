package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// initPrefix is the prefix of directories in which initdb runs.
const initPrefix = "postgres.init-"

// cluster is a data directory and the settings to run a server on it. prepare sets all fields but dir, wantBin, settings, log
// and socket.
type cluster struct {
	dir      string // absolute and without symbolic links
	wantBin  string
	settings map[string]string
	log      *slog.Logger

	bin    string   // "" before prepare
	socket string   // directory of the Unix socket
	user   *account // who runs PostgreSQL; nil: this process's user
}

// data returns the directory that PostgreSQL itself knows.
func (c *cluster) data() string { return filepath.Join(c.dir, "postgres") }

// makeDir creates the directory and returns its canonical path, which is the same for all processes.
func makeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // see checkAccess
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// prepare finds the programs and creates the cluster if there is none. The caller holds the lock.
func (c *cluster) prepare(ctx context.Context) error {
	version, err := c.version()
	if err != nil {
		return err
	}
	bin, err := c.findBin(ctx, version)
	if err != nil {
		return err
	}
	if err := c.chooseUser(); err != nil {
		return err
	}
	if err := c.makeSocketDir(); err != nil {
		return err
	}
	if err := c.checkAccess(ctx, bin); err != nil {
		return err
	}
	if err := c.cleanUp(); err != nil {
		return err
	}
	if version == "" {
		if err := c.initdb(ctx, bin); err != nil {
			return err
		}
	}
	c.bin = bin
	return nil
}

// version returns the major version that created the cluster, such as "17", or "" if there is no cluster. Other files in its
// directory are an error.
func (c *cluster) version() (string, error) {
	b, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	entries, err := os.ReadDir(c.data())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty and not a PostgreSQL cluster (it has no file PG_VERSION): move it away or choose another data directory", c.data())
	}
	return "", nil
}

// findBin returns the directory of the programs of a major version; "" means any.
func (c *cluster) findBin(ctx context.Context, version string) (string, error) {
	cache := filepath.Join(c.dir, "postgres-npm")
	if os.Geteuid() == 0 {
		cache = "/var/cache/presencelog" // every user can read it
	}
	if c.wantBin == "" && version == "" {
		return Find(ctx, cache, c.log)
	}
	if version == "" {
		return c.wantBin, checkBin(c.wantBin)
	}
	var have string
	if c.wantBin != "" {
		v, err := binVersion(ctx, c.wantBin)
		if err != nil || v == version {
			return c.wantBin, err
		}
		have = v + " (" + c.wantBin + ")"
	} else {
		bin, others, err := findVersion(ctx, cache, version, c.log)
		if err == nil {
			return bin, nil
		}
		if !errors.Is(err, errNotFound) {
			return "", fmt.Errorf("%s was created by PostgreSQL %s: %w", c.data(), version, err)
		}
		have = strings.Join(others, ", ")
	}
	problem := "but the PostgreSQL here is " + have
	if have == "" {
		problem = "and no PostgreSQL is installed here"
	}
	return "", fmt.Errorf("%[1]s was created by PostgreSQL %[2]s, %[3]s: install PostgreSQL %[2]s (apt-get install postgresql-%[2]s, brew install postgresql@%[2]s); to upgrade, export the data with PostgreSQL %[2]s, and import them into a new data directory", c.data(), version, problem)
}

// makeSocketDir creates the directory of the Unix socket, which only the server's user may enter.
func (c *cluster) makeSocketDir() error {
	if c.socket == "" {
		c.socket = socketDir(c.dir)
	}
	err := os.Mkdir(c.socket, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the directory of the socket: %w", err)
	}
	// Outside the data directory another user may have created it first.
	fi, err := os.Lstat(c.socket)
	if err != nil {
		return fmt.Errorf("directory of the socket: %w", err)
	}
	want := account{uid: uint32(os.Geteuid())}
	if c.user != nil {
		want = *c.user
	}
	uid := fileOwner(fi).uid
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s, the directory of the socket, is not a directory: remove it", c.socket)
	case uid == want.uid:
	case uid == uint32(os.Geteuid()): // just created by root
		if err := os.Lchown(c.socket, int(want.uid), int(want.gid)); err != nil {
			return fmt.Errorf("directory of the socket: %w", err)
		}
	default:
		return fmt.Errorf("%s, the directory of the socket, belongs to the user id %d, not to %d: remove it", c.socket, uid, want.uid)
	}
	if fi.Mode().Perm() != 0o700 {
		if err := os.Chmod(c.socket, 0o700); err != nil {
			return fmt.Errorf("directory of the socket: %w", err)
		}
	}
	return nil
}

// socketDir returns the directory of the socket. It is inside the data directory, unless that path is too long for a socket
// (103 bytes on macOS, 107 on Linux), or has characters that are separators in connection strings and settings.
func socketDir(dir string) string {
	fits := func(path string) bool {
		return len(path)+len("/.s.PGSQL."+port) <= 100 && !strings.ContainsAny(path, ",\"'\\\n\r")
	}
	if path := filepath.Join(dir, "postgres-socket"); fits(path) {
		return path
	}
	name := fmt.Sprintf("presencelog-%x", sha256.Sum256([]byte(dir)))[:28]
	if path := filepath.Join(os.TempDir(), name); fits(path) {
		return path
	}
	return filepath.Join("/tmp", name)
}

// cleanUp removes the files of a killed initdb.
func (c *cluster) cleanUp() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), initPrefix) {
			// A child of the killed initdb may still write there for a moment; the next start removes the rest.
			_ = os.RemoveAll(filepath.Join(c.dir, e.Name()))
		}
	}
	return nil
}

// initdb creates the cluster in a temporary directory and renames it, so that a cluster is never incomplete.
func (c *cluster) initdb(ctx context.Context, bin string) error {
	tmp, err := os.MkdirTemp(c.dir, initPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if c.user != nil {
		if err := os.Lchown(tmp, int(c.user.uid), int(c.user.gid)); err != nil {
			return err
		}
	}

	args := []string{"-D", tmp, "-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C"}
	if c.settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	start := time.Now()
	var out bytes.Buffer
	cmd := c.command(ctx, syscall.SIGKILL, filepath.Join(bin, "initdb"), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("start initdb: %w", err)
	}
	<-p.done
	if ctx.Err() != nil {
		return fmt.Errorf("initdb: %w", context.Cause(ctx))
	}
	if p.err != nil {
		return fmt.Errorf("initdb failed (%w):\n%s", p.err, lastLines(out.Bytes()))
	}

	if err := os.Remove(c.data()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // an empty directory is replaced
	}
	if err := os.Rename(tmp, c.data()); err != nil {
		return err
	}
	if err := syncDir(c.dir); err != nil {
		return err
	}
	c.log.Info("created a PostgreSQL cluster", "dir", c.data(), "bin", bin, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
