package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/terminal"
)

type rebuildCmd struct{ database }

func (c *rebuildCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		var line *terminal.Progress
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			return intervals.Rebuild(ctx, tx, nil, func(done, all time.Duration) {
				if line == nil {
					line = terminal.NewProgress(os.Stderr, "rebuilding", "hours of history", int64(all.Hours()))
				}
				line.Set(int64(done.Hours()))
			})
		})
		if line != nil {
			line.Done()
		}
		if err == nil {
			fmt.Println("rebuilt the intervals from the events")
		}
		return err
	})
}
