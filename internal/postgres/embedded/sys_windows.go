package embedded

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// On Windows the package only builds: Open fails when it takes the lock.

func flock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func fileOwner(os.FileInfo) account { return account{} }

func alive(int) bool { return false }

func kill(int, syscall.Signal) {}

func procAttr(*account, bool, syscall.Signal) *syscall.SysProcAttr { return nil }

func isPostmaster(int, string) answer { return no }

func backends(context.Context, *cluster) []int { return nil }
