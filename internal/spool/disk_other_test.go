//go:build !linux

package spool

import "testing"

func smallDisk(t testing.TB, _ string, _ int) { t.Skip("a small disk takes Linux") }
