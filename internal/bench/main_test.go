package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// TestMain is also the servers that Compare starts as separate processes.
func TestMain(m *testing.M) {
	if kind := Kind(os.Getenv("BENCH_KIND")); kind != "" {
		if err := serve(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

func serve(kind Kind) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listen, database, token := os.Getenv("BENCH_LISTEN"), os.Getenv("BENCH_DATABASE"), os.Getenv("BENCH_TOKEN")
	if kind == DecodeOnly || kind == Naive {
		return ServeBaseline(ctx, kind, listen, database, token)
	}
	a, err := app.Start(ctx, app.Config{
		Listen: listen, Database: database, WebhookTokens: []string{token}, Streams: 100, Log: slog.New(slog.DiscardHandler),
		SpoolDir: os.Getenv("BENCH_SPOOL"), SpoolBytes: 1 << 30,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	a.Stop()
	return nil
}

// command has a spool, as the service that is measured has: without it, each event that PostgreSQL does not store within 2 s
// fails, which a busy machine is enough for.
func command(kind Kind, listen, database, token, spool string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(),
		"BENCH_KIND="+string(kind), "BENCH_LISTEN="+listen, "BENCH_DATABASE="+database, "BENCH_TOKEN="+token, "BENCH_SPOOL="+spool)
	return cmd
}
