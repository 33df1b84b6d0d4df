//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccessErrorNamesOwnerAndCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inner := filepath.Join(dir, "0")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	paths := []string{filepath.Join(inner, "lock"), inner, dir}
	denied := &fs.PathError{Op: "open", Path: inner, Err: fs.ErrPermission}
	me := os.Geteuid()
	const other = 4_000_001
	err := explainAccess(denied, other, paths...)
	want := fmt.Sprintf("%s belongs to %s, and this process runs as %d; to repair: sudo chown -R %d %s", inner, userName(me), other, other, dir)
	if !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want it to end in %q", err, want)
	}
	for name, same := range map[string]error{
		"the owner":     explainAccess(denied, me, paths...),
		"missing paths": explainAccess(denied, other, filepath.Join(dir, "1")),
	} {
		if same != error(denied) {
			t.Errorf("%s: got %q, want the error alone", name, same)
		}
	}
	if err := explainAccess(fs.ErrNotExist, other, paths...); err != fs.ErrNotExist {
		t.Errorf("another error became %q", err)
	}
}
