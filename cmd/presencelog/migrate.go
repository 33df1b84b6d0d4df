package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the schema to the newest version."`
	Down   migrateDownCmd   `cmd:"" help:"Roll back the newest migration, and delete its data."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations."`
}

type migrateUpCmd struct{ database }

func (c *migrateUpCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		// serve creates them too, unless its role does not own the tables.
		if err := postgres.MakePartitionsAhead(ctx, pool, presence.Now()); err != nil {
			return err
		}
		return printMigrations(ctx, pool)
	})
}

type migrateDownCmd struct {
	database
	Yes bool `help:"Confirm the deletion."`
}

func (c *migrateDownCmd) Run(ctx context.Context) error {
	if !c.Yes {
		return errors.New("migrate down deletes the data of the newest migration; pass --yes to confirm")
	}
	return c.withAnySchema(ctx, func(pool *pgxpool.Pool) error {
		if err := postgres.Down(ctx, pool); err != nil {
			return err
		}
		return printMigrations(ctx, pool)
	})
}

type migrateStatusCmd struct{ database }

func (c *migrateStatusCmd) Run(ctx context.Context) error {
	return c.withAnySchema(ctx, func(pool *pgxpool.Pool) error { return printMigrations(ctx, pool) })
}

func printMigrations(ctx context.Context, pool *pgxpool.Pool) error {
	list, err := postgres.Migrations(ctx, pool)
	for _, m := range list {
		state := "pending"
		if m.Applied {
			state = "applied"
		}
		fmt.Printf("%s\t%s\n", state, m.Name)
	}
	return err
}
