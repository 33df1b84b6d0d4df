package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

// TestStoppedCommandWaitsForOthers: a command that uses the PostgreSQL of another one finishes, although that is told to stop.
func TestStoppedCommandWaitsForOthers(t *testing.T) {
	t.Parallel()
	dir := install(t).dir
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	_, closeOwner, err := database{DataDir: dir, lasting: true}.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	conn, closeGuest, err := database{DataDir: dir}.open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Connect(t.Context(), conn, "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stopped := make(chan struct{})
	go func() {
		closeOwner()
		close(stopped)
	}()
	if _, err := pool.Exec(t.Context(), "SELECT pg_sleep(2)"); err != nil {
		t.Errorf("a command that was under way: %v", err)
	}
	pool.Close()
	closeGuest()
	select {
	case <-stopped:
	case <-time.After(pgtest.Timeout):
		t.Error("it waits for nobody")
	}
}
