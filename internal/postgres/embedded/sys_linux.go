package embedded

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// procAttr returns the attributes of a child that runs as the account (nil: the current user), in its own process group, so
// that Ctrl-C in a terminal does not reach it, and that gets the signal, unless it is 0, when the thread that started it ends.
func procAttr(a *account, death syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
	credential(attr, a)
	return attr
}

// isPostmaster reports whether the process is a PostgreSQL server on the data directory.
func isPostmaster(pid int, data string) certainty {
	argv := cmdline(pid)
	if len(argv) == 0 || !isServerName(filepath.Base(argv[0])) {
		return no
	}
	// Its working directory is its data directory, but only its user and processes with CAP_SYS_PTRACE can see it.
	dir := cwd(pid)
	if i := slices.Index(argv, "-D"); dir == "" && i >= 0 && i+1 < len(argv) && filepath.IsAbs(argv[i+1]) {
		dir = argv[i+1]
	}
	real, _ := filepath.EvalSymlinks(data)
	switch dir {
	case "":
		return maybe
	case data, real:
		return yes
	}
	return no
}

// backends returns the processes that PostgreSQL runs on the cluster.
//
// Their working directory identifies them, but only the same user and processes with CAP_SYS_PTRACE can see it, and root lacks
// that in most containers. So the script runs as the cluster's user.
func backends(ctx context.Context, c *cluster) (pids []int) {
	const script = `for p in /proc/[0-9]*; do [ "$p/cwd" -ef "$0" ] && echo "${p#/proc/}"; done`
	// The exit status is that of the last comparison.
	out, _ := c.command(ctx, 0, "/bin/sh", "-c", script, c.data()).Output()
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		if argv := cmdline(pid); len(argv) > 0 && (strings.HasPrefix(argv[0], "postgres:") || isServerName(filepath.Base(argv[0]))) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isServerName(name string) bool { return name == "postgres" || name == "postmaster" }

// cmdline returns the arguments of a process, none if it is gone or a zombie.
func cmdline(pid int) []string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	b = bytes.TrimRight(b, "\x00")
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

func cwd(pid int) string {
	path, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return path
}
