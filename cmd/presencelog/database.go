package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
)

// database is the flags that say where the history is.
type database struct {
	DatabaseURL string `env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL to use; without it presencelog runs its own in the data directory."`
	DataDir     string `default:"${data_dir}" type:"path" help:"Where presencelog keeps its own PostgreSQL, and events while PostgreSQL is away."`
}

// open returns the connection string of the database and what is to be done when it is no longer needed. The embedded
// PostgreSQL is started unless another presencelog runs it on the same directory.
func (d database) open(ctx context.Context, log *slog.Logger) (connString string, closeDB func(), err error) {
	if d.DatabaseURL != "" {
		return d.DatabaseURL, func() {}, nil
	}
	server, err := embedded.Open(ctx, d.DataDir, embedded.Options{Log: log})
	if err != nil {
		return "", nil, err
	}
	return server.ConnString(), func() {
		if err := server.Close(); err != nil {
			log.Error("stopping PostgreSQL", "error", err)
		}
	}, nil
}

// withPool opens the database for a command that asks or stores something, with the schema brought up to date.
func (d database) withPool(ctx context.Context, do func(*pgxpool.Pool) error) error {
	return d.withBarePool(ctx, func(pool *pgxpool.Pool) error {
		if err := postgres.Up(ctx, pool); err != nil {
			return err
		}
		return do(pool)
	})
}

// withBarePool leaves the schema as it is.
func (d database) withBarePool(ctx context.Context, do func(*pgxpool.Pool) error) error {
	connString, closeDB, err := d.open(ctx, newLog(slog.LevelWarn))
	if err != nil {
		return err
	}
	defer closeDB()
	pool, err := postgres.Connect(ctx, connString, "command", 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(pool)
}

func newLog(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// defaultDataDir is a directory that the user may write and, if that is root, PostgreSQL's user may enter.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/presencelog"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "presencelog")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "presencelog-data"
	}
	return filepath.Join(home, ".local", "share", "presencelog")
}

// secrets reads a list of secrets from a flag, separated by commas, and from a file, one a line or also by commas.
func secrets(list []string, file string) ([]string, error) {
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading secrets: %w", err)
		}
		list = append(list, strings.FieldsFunc(string(content), func(r rune) bool { return r == ',' || r == '\n' || r == '\r' })...)
	}
	var all []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all, nil
}
