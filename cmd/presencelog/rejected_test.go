package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

func TestInterruptedRetryFails(t *testing.T) {
	t.Parallel()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.URL(t)
	pool, err := postgres.Connect(t.Context(), url, "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "LOCK TABLE rejected_payloads")

	command := exec.Command(binary, "rejected", "retry", "--database-url", url, uuid.NewString(), uuid.NewString())
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	pgtest.AwaitBlocked(t, pool, done)
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = <-done
	if out := stdout.String(); out != "accepted 0, still rejected 2\n" {
		t.Errorf("it writes %q", out)
	}
	if out := stderr.String(); command.ProcessState.ExitCode() != 1 || strings.Contains(out, "stays") || !strings.Contains(out, "run it again") {
		t.Errorf("it ends with %v and reports %q", err, out)
	}
}
