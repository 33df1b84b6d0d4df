package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/presencelog/presencelog/migrations"
)

// Up brings the schema to the newest version. Any number of processes may call it at once: a session lock lets one work
// and the others find it done.
func Up(ctx context.Context, pool *pgxpool.Pool) error {
	return withGoose(pool, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
}

// Down takes back the newest migration, with the data it holds.
func Down(ctx context.Context, pool *pgxpool.Pool) error {
	return withGoose(pool, func(p *goose.Provider) error {
		_, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return errors.New("there is no migration to take back")
		}
		return err
	})
}

// Migration is one step of the schema.
type Migration struct {
	Name    string
	Applied bool
}

// Migrations lists every step of the schema, oldest first.
func Migrations(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	var list []Migration
	err := withGoose(pool, func(p *goose.Provider) error {
		status, err := p.Status(ctx)
		for _, s := range status {
			list = append(list, Migration{Name: s.Source.Path, Applied: s.State == goose.StateApplied})
		}
		return err
	})
	return list, err
}

func withGoose(pool *pgxpool.Pool, do func(*goose.Provider) error) error {
	conns := stdlib.OpenDBFromPool(pool)
	defer conns.Close()
	locker, err := locking(pool)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, conns, migrations.FS, locker, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if err := do(provider); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// locking keeps others from migrating meanwhile: by a session's lock, or where a pooler hands out a connection for each
// transaction, by a row in a table.
func locking(pool *pgxpool.Pool) (goose.ProviderOption, error) {
	if pooled(pool) {
		locker, err := lock.NewPostgresTableLocker()
		return goose.WithLocker(locker), err
	}
	locker, err := lock.NewPostgresSessionLocker()
	return goose.WithSessionLocker(locker), err
}
