package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/quarantine"
)

type quarantineCmd struct {
	List  quarantineListCmd  `cmd:"" help:"List what could not be understood, oldest first."`
	Show  quarantineShowCmd  `cmd:"" help:"Write the body of one callback as it came."`
	Retry quarantineRetryCmd `cmd:"" help:"Try again, as after an upgrade: what is understood now moves into history at the time it came."`
	Drop  quarantineDropCmd  `cmd:"" help:"Delete callbacks for good."`
}

type quarantineListCmd struct {
	database
	JSON bool `help:"Write JSON."`
}

func (c *quarantineListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		list := []quarantine.Entry{}
		for q, err := range quarantine.List(ctx, pool) {
			if err != nil {
				return err
			}
			list = append(list, q)
		}
		if c.JSON {
			return printJSON(list)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "id\treceived\tgateway\tbytes\treason")
		for _, q := range list {
			fmt.Fprintf(out, "%s\t%s\t%s\t%d\t%s\n", q.ID, q.ReceivedAt.Format(time.RFC3339), q.Gateway, q.Bytes, q.Reason)
		}
		return out.Flush()
	})
}

type quarantineShowCmd struct {
	database
	ID uuid.UUID `arg:"" help:"The id that list shows."`
}

func (c *quarantineShowCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		q, err := quarantine.Get(ctx, pool, c.ID)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(q.Body)
		return err
	})
}

type quarantineRetryCmd struct {
	database
	IDs []uuid.UUID `arg:"" optional:"" help:"Only these."`
	All bool        `help:"All there are."`
}

func (c *quarantineRetryCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		ids, err := chosen(ctx, pool, c.IDs, c.All)
		if err != nil {
			return err
		}
		moved := 0
		for _, id := range ids {
			if err := quarantine.Retry(ctx, pool, id); err != nil {
				fmt.Fprintf(os.Stderr, "%s stays: %v\n", id, err)
				continue
			}
			moved++
		}
		fmt.Printf("moved into history %d, still in quarantine %d\n", moved, len(ids)-moved)
		return nil
	})
}

type quarantineDropCmd struct {
	database
	IDs []uuid.UUID `arg:"" optional:"" help:"Only these."`
	All bool        `help:"All there are."`
}

func (c *quarantineDropCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		ids, err := chosen(ctx, pool, c.IDs, c.All)
		if err != nil {
			return err
		}
		for i, id := range ids {
			if err := quarantine.Drop(ctx, pool, id); err != nil {
				return fmt.Errorf("%s: %w (%d dropped before it)", id, err, i)
			}
		}
		fmt.Printf("dropped %d\n", len(ids))
		return nil
	})
}

func chosen(ctx context.Context, pool *pgxpool.Pool, ids []uuid.UUID, all bool) ([]uuid.UUID, error) {
	if all == (len(ids) > 0) {
		return nil, fmt.Errorf("name the callbacks by their ids, or say --all")
	}
	if all {
		for q, err := range quarantine.List(ctx, pool) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, q.ID)
		}
	}
	return ids, nil
}
