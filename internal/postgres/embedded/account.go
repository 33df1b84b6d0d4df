package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// account is a user of the system.
type account struct {
	uid, gid uint32
}

// chooseUser chooses the user that runs PostgreSQL, which does not run as root: the owner of the cluster, or a system user, who
// becomes the owner.
func (c *cluster) chooseUser() error {
	if os.Geteuid() != 0 {
		return nil
	}
	fi, err := os.Stat(c.data())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if a := fileOwner(fi); a.uid != 0 {
			c.user = &a
			return nil
		}
	}
	if c.user, err = lookupAccount("postgres", "nobody"); err != nil {
		return err
	}
	if fi == nil {
		return nil
	}
	return filepath.WalkDir(c.data(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(c.user.uid), int(c.user.gid))
	})
}

func lookupAccount(names ...string) (*account, error) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &account{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and none of the users %s exists: create one, or do not run as root", strings.Join(names, ", "))
}

// checkAccess makes sure that PostgreSQL's user can enter its directories. It grants no capability: with one, everybody who can
// connect to the server could read all files of the machine.
func (c *cluster) checkAccess(ctx context.Context, bin string) error {
	if c.user == nil {
		return nil
	}
	// The account only needs to enter it.
	fi, err := os.Stat(c.dir)
	if err != nil {
		return err
	}
	if !c.user.enters(fi) {
		if err := os.Chmod(c.dir, fi.Mode().Perm()|0o011); err != nil {
			return err
		}
	}
	if err := c.tryAccess(ctx, bin); ctx.Err() != nil {
		return err
	} else if err != nil {
		return c.accessError(bin, err, "choose other programs with "+binVar)
	}
	if err := c.tryAccess(ctx, bin, c.dir, c.socket); ctx.Err() != nil {
		return err
	} else if err != nil {
		dir := c.dir
		if c.user.blocked(dir) == "" {
			dir = c.socket
		}
		return c.accessError(dir, err, "choose another data directory")
	}
	return nil
}

// tryAccess enters the directories and runs postgres, as its user.
func (c *cluster) tryAccess(ctx context.Context, bin string, dirs ...string) error {
	args := append([]string{"-c", `for d; do cd "$d" || exit; done; exec "$0" --version`, filepath.Join(bin, "postgres")}, dirs...)
	out, err := c.command(ctx, 0, "/bin/sh", args...).CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w %s", err, lastLines(out))
	}
	return nil
}

func (c *cluster) accessError(path string, err error, instead string) error {
	dir := c.user.blocked(path)
	if dir == "" {
		return fmt.Errorf("PostgreSQL does not run as root, and cannot run as user id %d: %w", c.user.uid, err)
	}
	return fmt.Errorf("PostgreSQL does not run as root, and user id %d cannot enter %[2]s: allow it (chmod o+x %[2]s) or %s (%w)", c.user.uid, dir, instead, err)
}

// enters reports whether the mode of a directory lets the account enter it.
func (a *account) enters(fi os.FileInfo) bool {
	o, mode := fileOwner(fi), fi.Mode().Perm()
	switch {
	case a.uid == o.uid:
		return mode&0o100 != 0
	case a.gid == o.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// blocked returns the topmost of path and its parents that the account cannot enter, or "".
func (a *account) blocked(path string) string {
	if parent := filepath.Dir(path); parent != path {
		if dir := a.blocked(parent); dir != "" {
			return dir
		}
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() && !a.enters(fi) {
		return path
	}
	return ""
}
