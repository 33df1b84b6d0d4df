package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/retention"
)

type retentionCmd struct {
	database
	DryRun bool `help:"Only show what would be deleted."`
	JSON   bool `help:"Write JSON."`
}

func (c *retentionCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		do := retention.Run
		if c.DryRun {
			do = retention.Plan
		}
		gone, err := do(ctx, pool, presence.Now())
		switch {
		case err != nil && gone.Empty():
			return err
		case c.JSON:
			return errors.Join(printJSON(gone), err)
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

	moment := func(at *time.Time) string {
		if at == nil {
			return "-"
		}
		return at.Format(time.RFC3339)
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "instance\tevents before\t"+deleted+"\toldest\trollups before\t"+deleted)
	for _, i := range gone.Instances {
		fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%s\t%d\n", i.InstanceID, moment(i.EventsFrom), i.Events,
			moment(i.OldestEventAt), moment(i.RollupsFrom), i.Rollups)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(gone.Partitions) > 0 {
		fmt.Printf("%s whole: %s\n", dropped, strings.Join(gone.Partitions, ", "))
	}
	if gone.Quarantine > 0 {
		fmt.Printf("%s from the quarantine: %d\n", deleted, gone.Quarantine)
	}
	return nil
}
