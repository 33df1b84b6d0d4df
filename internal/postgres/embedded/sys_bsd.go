//go:build unix && !linux

package embedded

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// procAttr returns the attributes of a child that runs as the account (nil: the
// current user), in its own process group, so that Ctrl-C in a terminal does
// not reach it. There is no way to have it end with its parent here and none to
// let it enter directories that are closed to the account.
func procAttr(a *account, _ bool, _ syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	credential(attr, a)
	return attr
}

// isPostmaster tells whether the process is a PostgreSQL server on the data
// directory.
func isPostmaster(pid int, data string) answer {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return no
	}
	command := strings.TrimSpace(string(out)) + " "
	program, arguments, _ := strings.Cut(command, " -")
	switch name := filepath.Base(program); {
	case name != "postgres" && name != "postmaster":
		return no
	case strings.Contains(" -"+arguments, " -D "+data+" "):
		return yes
	}
	return maybe
}

// backends would return the processes that PostgreSQL runs on the cluster, but
// their titles do not tell.
func backends(context.Context, *cluster) []int { return nil }
