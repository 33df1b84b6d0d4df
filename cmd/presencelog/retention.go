package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
	"github.com/presencelog/presencelog/internal/terminal"
)

type retentionCmd struct {
	database
	DryRun bool `help:"Show what would be deleted, and delete nothing."`
	JSON   bool `help:"Write JSON."`
}

func (c *retentionCmd) Run(ctx context.Context) error {
	open, do := c.withMigratedPool, retention.Run
	if c.DryRun {
		open, do = c.withPool, retention.Plan
	}
	return open(ctx, func(pool *pgxpool.Pool) error {
		gone, err := do(ctx, pool, presence.Now())
		switch {
		case err != nil && gone.Empty():
			return err
		case c.JSON:
			return errors.Join(terminal.PrintJSON(gone), err)
		default:
			return errors.Join(printRetention(gone, c.DryRun), err)
		}
	})
}

func printRetention(gone retention.Report, dryRun bool) error {
	deleted, dropped := "deleted", "dropped"
	if dryRun {
		deleted, dropped = "to delete", "to drop"
	}
	rows := [][]string{{"instance", "events before", deleted, "oldest", "intervals before", deleted}}
	for _, i := range gone.Instances {
		rows = append(rows, []string{
			i.InstanceID, momentOrDash(i.EventsFrom), strconv.FormatInt(i.Events, 10),
			momentOrDash(i.OldestEventAt), momentOrDash(i.IntervalsFrom), strconv.FormatInt(i.Intervals, 10),
		})
	}
	if err := terminal.List(os.Stdout, rows); err != nil {
		return err
	}
	if len(gone.Partitions) > 0 {
		fmt.Printf("%s whole: %s\n", dropped, strings.Join(gone.Partitions, ", "))
	}
	return nil
}
