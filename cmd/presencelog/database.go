package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
)

// guestTimeout is how long a command that was told to stop waits for others that use its PostgreSQL.
const guestTimeout = 20 * time.Second

// database has the flags that locate the history.
type database struct {
	DatabaseURL string `env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL to use; default: an embedded one in the data directory."`
	DataDir     string `env:"PRESENCELOG_DATA_DIR" default:"${data_dir}" type:"path" help:"Directory for the embedded PostgreSQL, certificates, and events while PostgreSQL is unavailable."`
	PostgresBin string `env:"PRESENCELOG_POSTGRES_BIN" placeholder:"DIR" type:"path" help:"Directory of initdb and postgres for the embedded PostgreSQL; default: the first one found."`
	logging

	lasting bool // other commands do not wait for this one
}

// open returns the connection string of the database and a function to call when it is no longer needed. It starts the
// embedded PostgreSQL unless another presencelog runs it on the same directory.
func (d database) open(ctx context.Context, log *slog.Logger) (connString string, closeDB func(), err error) {
	if d.DatabaseURL != "" {
		return d.DatabaseURL, func() {}, nil
	}
	server, err := embedded.Open(ctx, d.DataDir, embedded.Options{Bin: d.PostgresBin, Brief: !d.lasting, Log: log})
	if err != nil {
		return "", nil, err
	}
	return server.ConnString(), func() {
		wait, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		context.AfterFunc(ctx, func() { time.AfterFunc(guestTimeout, cancel) })
		server.AwaitGuests(wait)
		if err := server.Close(); err != nil {
			log.Error("stopping PostgreSQL", "error", err)
		}
	}, nil
}

// withPool opens the database for a command that only reads. It never creates or migrates one: the schema must be the one
// needed.
func (d database) withPool(ctx context.Context, do func(*pgxpool.Pool) error) error {
	if d.DatabaseURL == "" && !embedded.Exists(d.DataDir) {
		return fmt.Errorf("there is no history in %s; --data-dir or DATABASE_URL say where it is, and presencelog serve creates one", d.DataDir)
	}
	return d.withAnySchema(ctx, func(pool *pgxpool.Pool) error {
		if err := postgres.CheckSchema(ctx, pool); err != nil {
			return err
		}
		return do(pool)
	})
}

// withMigratedPool opens the database for a command that writes, and first brings the schema up to date.
func (d database) withMigratedPool(ctx context.Context, do func(*pgxpool.Pool) error) error {
	return d.withAnySchema(ctx, func(pool *pgxpool.Pool) error {
		if err := postgres.Up(ctx, pool); err != nil {
			return err
		}
		return do(pool)
	})
}

// withAnySchema opens the database, whatever the version of its schema.
func (d database) withAnySchema(ctx context.Context, do func(*pgxpool.Pool) error) error {
	connString, closeDB, err := d.open(ctx, d.log())
	if err != nil {
		return err
	}
	defer closeDB()
	pool, err := postgres.Connect(ctx, connString, "command", 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.Ping(ctx, pool); err != nil {
		return err
	}
	return do(pool)
}

type logging struct {
	LogLevel  string `env:"PRESENCELOG_LOG_LEVEL" enum:"debug,info,warn,error" default:"${log_level}" help:"Log messages of this level and above: ${enum}."`
	LogFormat string `env:"PRESENCELOG_LOG_FORMAT" enum:"text,json" default:"text" help:"Format of log messages: ${enum}."`
}

func (l logging) log() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.LogLevel)); err != nil {
		panic(err) // the enum has only names that slog knows
	}
	options := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// defaultDataDir returns a directory that the user may write and, for root, PostgreSQL's user may enter.
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

// secrets reads tokens from a flag or its environment variable, and from a file. Commas or line breaks separate them. A source
// that is set must have a token: an empty one would protect nothing.
func secrets(list []string, variable, file string) ([]string, error) {
	given, inEnv := os.LookupEnv(variable)
	if inEnv && strings.Trim(given, ", \t\r\n") == "" {
		return nil, fmt.Errorf("%s is set, but has no token", variable)
	}
	all := fields(strings.Join(list, ","))
	if len(list) > 0 && len(all) == 0 {
		return nil, fmt.Errorf("the list of tokens (%s) is empty", variable)
	}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading tokens: %w", err)
		}
		inFile := fields(string(content))
		if len(inFile) == 0 {
			return nil, fmt.Errorf("reading tokens: %s has no token", file)
		}
		all = append(all, inFile...)
	}
	return all, nil
}

// fields returns the parts between commas and line breaks that are not blank.
func fields(s string) []string {
	var all []string
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
