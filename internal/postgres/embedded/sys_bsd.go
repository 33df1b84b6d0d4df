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

// procAttr returns the attributes of a child that runs as the account (nil: the current user), in its own process group, so
// that Ctrl-C in a terminal does not reach it. On these systems it does not end with its parent.
func procAttr(a *account, _ syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	credential(attr, a)
	return attr
}

// isPostmaster reports whether the process is a PostgreSQL server on the data directory.
func isPostmaster(pid int, data string) certainty {
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

// backends returns none: the titles of processes do not name the cluster here.
func backends(context.Context, *cluster) []int { return nil }
