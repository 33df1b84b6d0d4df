package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/demo"
	"github.com/presencelog/presencelog/internal/postgres"
)

// useDemo makes serve use a database that is removed at the end, whatever else is configured.
func (c *serveCmd) useDemo() (clean func(), err error) {
	dir, err := os.MkdirTemp("", "presencelog-demo-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user must enter it
		return nil, err
	}
	c.DatabaseURL, c.DataDir = "", dir
	return func() { os.RemoveAll(dir) }, nil
}

func fillDemo(ctx context.Context, connString string, now time.Time) error {
	pool, err := postgres.Connect(ctx, connString, "demo", 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	return demo.Fill(ctx, pool, now)
}

// playDemo sends traffic to the service until the returned function is called.
func playDemo(ctx context.Context, a *app.App, now time.Time, tokens []string, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	token := ""
	if len(tokens) > 0 {
		token = tokens[0]
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		if err := demo.Play(ctx, "http://"+a.Addr.String()+"/webhooks/zapi", token, now); err != nil {
			log.Error("sending demo traffic", "error", err)
		}
	})
	return func() { cancel(); playing.Wait() }
}
