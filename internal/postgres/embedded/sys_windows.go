package embedded

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// On Windows the package only builds: Open fails when it takes the lock.

func flock(*os.File, bool) (bool, error) {
	return false, errors.New("the embedded PostgreSQL does not run on Windows: set DATABASE_URL to a PostgreSQL server")
}

func fileOwner(os.FileInfo) account { return account{} }

func alive(int) bool { return false }

func kill(int, syscall.Signal) {}

func procAttr(*account, syscall.Signal) *syscall.SysProcAttr { return nil }

func isPostmaster(int, string) certainty { return no }

func backends(context.Context, *cluster) []int { return nil }
