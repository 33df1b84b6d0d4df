package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/rejected"
	"github.com/presencelog/presencelog/internal/terminal"
)

type rejectedCmd struct {
	List  rejectedListCmd  `cmd:"" help:"List rejected payloads, oldest first."`
	Show  rejectedShowCmd  `cmd:"" help:"Write one payload as it was received."`
	Retry rejectedRetryCmd `cmd:"" help:"Decode payloads again, for example after an upgrade, and store the events of those that are valid now, with their original time."`
	Drop  rejectedDropCmd  `cmd:"" help:"Delete payloads."`
}

type rejectedListCmd struct {
	database
	listFlags
}

func (c *rejectedListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		list := []rejected.Entry{}
		for q, err := range rejected.List(ctx, pool) {
			if err != nil {
				return err
			}
			list = append(list, q)
		}
		rows := [][]string{{"id", "received", "gateway", "bytes", "reason"}}
		for _, q := range list {
			rows = append(rows, []string{q.ID.String(), q.ReceivedAt.Format(time.RFC3339), q.Gateway, strconv.Itoa(int(q.Bytes)), q.Reason})
		}
		return c.print(list, rows)
	})
}

type rejectedShowCmd struct {
	database
	ID uuid.UUID `arg:"" help:"The id that list shows."`
}

func (c *rejectedShowCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		q, err := rejected.Get(ctx, pool, c.ID)
		if err != nil {
			return err
		}
		if q.Body == nil {
			return fmt.Errorf("the content of this payload was not kept (%d bytes, %s); serve --keep-rejected-bodies keeps the next ones", q.Bytes, q.Reason)
		}
		if terminal.IsTerminal(os.Stdout) {
			_, err = fmt.Println(terminal.Text(string(q.Body)))
			return err
		}
		_, err = os.Stdout.Write(q.Body)
		return err
	})
}

type rejectedRetryCmd struct{ chosen }

func (c *rejectedRetryCmd) Run(ctx context.Context) error {
	return c.withIDs(ctx, func(pool *pgxpool.Pool, ids []uuid.UUID) error {
		moved := 0
		for _, id := range ids {
			if err := rejected.Retry(ctx, pool, id); err == nil {
				moved++
			} else if ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "%s stays: %v\n", id, err)
			} else {
				break
			}
		}
		left := len(ids) - moved
		fmt.Printf("accepted %d, still rejected %d\n", moved, left)
		switch {
		case left > 0 && ctx.Err() != nil:
			return fmt.Errorf("%w; run it again to retry the others", context.Cause(ctx))
		case left > 0:
			return fmt.Errorf("payloads that were not accepted: %d", left)
		}
		return nil
	})
}

type rejectedDropCmd struct{ chosen }

func (c *rejectedDropCmd) Run(ctx context.Context) error {
	return c.withIDs(ctx, func(pool *pgxpool.Pool, ids []uuid.UUID) error {
		for i, id := range ids {
			if err := rejected.Drop(ctx, pool, id); err != nil {
				return fmt.Errorf("%s: %w (%d dropped before it)", id, err, i)
			}
		}
		fmt.Printf("dropped %d\n", len(ids))
		return nil
	})
}

// chosen has the flags that select payloads.
type chosen struct {
	database
	IDs []uuid.UUID `arg:"" name:"id" optional:"" help:"Ids of the payloads, as list shows them."`
	All bool        `help:"All payloads."`
}

func (c chosen) withIDs(ctx context.Context, do func(pool *pgxpool.Pool, ids []uuid.UUID) error) error {
	if c.All == (len(c.IDs) > 0) {
		return errors.New("pass the ids of the payloads, or --all")
	}
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		ids := c.IDs
		if c.All {
			for q, err := range rejected.List(ctx, pool) {
				if err != nil {
					return err
				}
				ids = append(ids, q.ID)
			}
		}
		return do(pool, ids)
	})
}
