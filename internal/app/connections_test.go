package app_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// It uses its own server, which accepts fewer connections than the service may open.
func TestShortageOfConnectionsIsLogged(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, map[string]string{"max_connections": "20"})
	var log pgtest.Output
	start(t, func(c *app.Config) {
		c.Database, c.Log = server.ConnString(), slog.New(slog.NewTextHandler(&log, nil))
	})
	pgtest.Eventually(t, "the log has the warning", func() bool { return strings.Contains(log.String(), "raise max_connections") })
}
