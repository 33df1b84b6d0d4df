package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/rollup"
	"github.com/presencelog/presencelog/internal/terminal"
)

type rebuildCmd struct{ database }

func (c *rebuildCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		var line *terminal.Progress
		err := rollup.Rebuild(ctx, pool, presence.Now, func(done, all time.Duration) {
			if line == nil {
				line = terminal.NewProgress(os.Stderr, "rebuilding", "hours of history", int64(all.Hours()))
			}
			line.Set(int64(done.Hours()))
		})
		if line != nil {
			line.Done()
		}
		if err == nil {
			fmt.Println("the rollups are made anew from the events")
		}
		return err
	})
}
