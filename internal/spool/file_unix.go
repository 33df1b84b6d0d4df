//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// tryLock locks f without waiting, or returns errInUse. The kernel releases the lock when the process ends.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errInUse
	}
	return err
}

// unlock is needed in addition to closing f: a program that is being started may have a copy of the descriptor.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// explainAccess adds to a permission error which of the paths, innermost first, belongs to a user other than uid, and the
// command that repairs it: a start as root leaves directories that belong to root.
func explainAccess(err error, uid int, paths ...string) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, path := range paths {
		info, statErr := os.Stat(path)
		if statErr != nil {
			continue // missing, or in a directory that the user may not enter
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		if owner == uid {
			return err
		}
		return fmt.Errorf("%w: %s belongs to %s, and this process runs as %s; to repair: sudo chown -R %s %s",
			err, path, userName(owner), userName(uid), userName(uid), paths[len(paths)-1])
	}
	return err
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
