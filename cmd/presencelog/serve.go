package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/presencelog/presencelog/internal/app"
)

type serveCmd struct {
	database
	Listen            string   `default:"127.0.0.1:8080" help:"Address to listen on; other than loopback needs secrets of both kinds."`
	WebhookTokens     []string `placeholder:"SECRET,…" help:"Secrets that gateways may show."`
	WebhookTokensFile string   `type:"existingfile" placeholder:"FILE" help:"The same from a file."`
	APITokens         []string `name:"api-tokens" placeholder:"SECRET,…" help:"Secrets that readers may show."`
	APITokensFile     string   `name:"api-tokens-file" type:"existingfile" placeholder:"FILE" help:"The same from a file."`
	SpoolBytes        int64    `default:"1073741824" help:"How many bytes of events to keep in the data directory while PostgreSQL is away."`
}

func (c *serveCmd) Run(ctx context.Context) error {
	log := newLog(slog.LevelInfo)
	webhookTokens, err := secrets(c.WebhookTokens, c.WebhookTokensFile)
	if err != nil {
		return err
	}
	apiTokens, err := secrets(c.APITokens, c.APITokensFile)
	if err != nil {
		return err
	}
	config := app.Config{
		Listen: c.Listen, WebhookTokens: webhookTokens, APITokens: apiTokens, Version: version(), Log: log,
		SpoolDir: filepath.Join(c.DataDir, "spool"), SpoolBytes: c.SpoolBytes,
	}
	if err := config.Check(); err != nil {
		return err
	}
	connString, closeDB, err := c.open(ctx, log)
	if err != nil {
		return err
	}
	defer closeDB()
	config.Database = connString
	a, err := app.Start(ctx, config)
	if err != nil {
		return err
	}
	defer a.Stop()
	c.greet(a)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case err := <-a.Failed():
		return err
	}
}

func (c *serveCmd) greet(a *app.App) {
	where := "PostgreSQL of its own in " + c.DataDir
	if c.DatabaseURL != "" {
		where = "PostgreSQL at DATABASE_URL"
	}
	fmt.Fprintf(os.Stderr, "presencelog %s listens on http://%s, history in %s\n  webhook  http://%s/webhooks/zapi\n  API      http://%s/openapi.json\n",
		version(), a.Addr, where, a.Addr, a.Addr)
	if len(c.WebhookTokens) == 0 && c.WebhookTokensFile == "" || len(c.APITokens) == 0 && c.APITokensFile == "" {
		fmt.Fprintln(os.Stderr, "  Secrets are missing (PRESENCELOG_WEBHOOK_TOKENS, PRESENCELOG_API_TOKENS), so it listens on this machine only.")
	}
}
