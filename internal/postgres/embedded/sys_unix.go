//go:build unix

package embedded

import (
	"errors"
	"os"
	"syscall"
)

// flock locks f without waiting, alone or shared with others, and reports whether it could.
func flock(f *os.File, shared bool) (bool, error) {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// fileOwner returns the owner of a file.
func fileOwner(fi os.FileInfo) account {
	st := fi.Sys().(*syscall.Stat_t)
	return account{uid: st.Uid, gid: st.Gid}
}

// alive reports whether there is a process with this id, even a zombie.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

func kill(pid int, sig syscall.Signal) { _ = syscall.Kill(pid, sig) }

// credential makes attr run a program as the account, with no other groups.
func credential(attr *syscall.SysProcAttr, a *account) {
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}
