package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/presencelog/presencelog/migrations"
)

// SchemaError says that the database has another schema version than this program needs. Version 0 means no schema.
type SchemaError struct{ Have, Need int64 }

func (e *SchemaError) Error() string {
	switch {
	case e.Have > e.Need:
		return fmt.Sprintf("the database has schema version %d, which is newer than version %d of this presencelog: upgrade presencelog", e.Have, e.Need)
	case e.Have == 0:
		return fmt.Sprintf("the database has no schema yet; version %d is needed: run presencelog migrate up, or serve", e.Need)
	}
	return fmt.Sprintf("the database has schema version %d, and this presencelog needs version %d: run presencelog migrate up", e.Have, e.Need)
}

// CheckSchema returns a *SchemaError unless the schema has the version that this program needs. It changes nothing.
func CheckSchema(ctx context.Context, pool *pgxpool.Pool) error {
	return withGoose(ctx, pool, func(_ *goose.Provider, have, need int64) error {
		if have != need {
			return &SchemaError{have, need}
		}
		return nil
	})
}

// Up migrates the schema to the newest version. Several processes may call it: a lock lets one do the work. It fails if the
// schema is newer than this program knows, or if there is no schema yet and other roles may create functions.
func Up(ctx context.Context, pool *pgxpool.Pool) error {
	err := CheckSchema(ctx, pool)
	if _, other := errors.AsType[*SchemaError](err); !other {
		return err
	}
	return withLock(ctx, pool, func(p *goose.Provider, have int64) error {
		if have == 0 {
			if err := claimSchema(ctx, pool); err != nil {
				return err
			}
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
		return nil
	})
}

// Down rolls back the newest migration, with the data it holds.
func Down(ctx context.Context, pool *pgxpool.Pool) error {
	return withLock(ctx, pool, func(p *goose.Provider, _ int64) error {
		_, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return errors.New("there is no migration to roll back")
		}
		return err
	})
}

// withLock excludes other processes during a migration, and fails if the schema is newer. do gets the version of the schema.
// The lock is on a table, since everybody could take an advisory lock, and in one transaction, so that it works behind a
// pooler.
func withLock(ctx context.Context, pool *pgxpool.Pool, do func(p *goose.Provider, have int64) error) error {
	for {
		_, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS goose_lock ()")
		switch ErrorCode(err) {
		case pgerrcode.UniqueViolation, pgerrcode.DuplicateTable, pgerrcode.DuplicateObject:
			continue // another process created it, or its row type, concurrently
		}
		if err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
		break
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for _, statement := range []string{"SET LOCAL idle_in_transaction_session_timeout = 0", "LOCK TABLE goose_lock"} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("migrating the database: %w", err)
			}
		}
		return withGoose(ctx, pool, func(p *goose.Provider, have, need int64) error {
			if have > need {
				return &SchemaError{have, need}
			}
			return do(p, have)
		})
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
	err := withGoose(ctx, pool, func(p *goose.Provider, have, _ int64) error {
		for _, s := range p.ListSources() {
			list = append(list, Migration{Name: s.Path, Applied: s.Version <= have})
		}
		return nil
	})
	return list, err
}

// versions returns the version of the database's schema, 0 if it has none, and the newest one that this program knows. Unlike
// goose.Provider's methods, it does not create goose's table.
func versions(ctx context.Context, p *goose.Provider, conns *sql.DB) (have, need int64, err error) {
	for _, s := range p.ListSources() {
		need = max(need, s.Version)
	}
	store, err := database.NewStore(goose.DialectPostgres, goose.DefaultTablename)
	if err != nil {
		return 0, 0, err
	}
	if exists, err := store.(database.StoreExtender).TableExists(ctx, conns); err != nil || !exists {
		return 0, need, err
	}
	have, err = store.GetLatestVersion(ctx, conns)
	if errors.Is(err, database.ErrVersionNotFound) {
		return 0, need, nil
	}
	return have, need, err
}

// withGoose calls do with what versions returns.
func withGoose(ctx context.Context, pool *pgxpool.Pool, do func(p *goose.Provider, have, need int64) error) error {
	conns := stdlib.OpenDBFromPool(pool)
	defer conns.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, conns, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, need, err := versions(ctx, provider, conns)
	if err != nil {
		return err
	}
	return do(provider, have, need)
}
