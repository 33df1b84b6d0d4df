package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/hook"
)

type hookCmd struct {
	Add    hookAddCmd    `cmd:"" help:"Add a hook and show its secret, which is shown only once."`
	List   hookListCmd   `cmd:"" help:"List the hooks and whether they accept messages."`
	Remove hookRemoveCmd `cmd:"" help:"Remove a hook and its pending messages."`
}

type hookAddCmd struct {
	database
	URL      string      `arg:"" help:"Where to send messages, by POST."`
	On       []hook.Kind `required:"" placeholder:"KIND" help:"Changes to send, separated by commas: typing, recording, idle (typing or recording has ended), available, unavailable."`
	Instance []string    `placeholder:"ID" help:"Only changes in these instances."`
	Private  bool        `help:"Allow http and addresses of this machine or a private network."`
}

func (c *hookAddCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		id, secret, err := hook.Add(ctx, pool, hook.Hook{URL: c.URL, On: c.On, Instances: c.Instance, Private: c.Private})
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("hook %d\nsecret, shown only once: %s\n", id, secret); err != nil {
			return fmt.Errorf("writing the secret: %w; remove hook %d and add it again", err, id)
		}
		return nil
	})
}

type hookListCmd struct {
	database
	listFlags
}

func (c *hookListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		hooks, err := hook.List(ctx, pool)
		if err != nil {
			return err
		}
		rows := [][]string{{"id", "url", "on", "instances", "pending", "dropped", "state"}}
		for _, h := range hooks {
			rows = append(rows, []string{
				strconv.Itoa(int(h.ID)), h.URL, joined(h.On), orAll(h.Instances),
				strconv.FormatInt(h.Pending, 10), strconv.FormatInt(h.Dropped, 10), hookState(h),
			})
		}
		return c.print(hooks, rows)
	})
}

func hookState(h hook.Hook) string {
	reason := ""
	if h.LastError != nil {
		reason = ": " + *h.LastError
	}
	switch {
	case h.DisabledAt != nil:
		return "disabled since " + h.DisabledAt.Format(time.RFC3339) + reason + "; remove it and add it again"
	case h.FailingSince != nil:
		return "failing since " + h.FailingSince.Format(time.RFC3339) + reason
	}
	return "ok"
}

type hookRemoveCmd struct {
	database
	ID int32 `arg:"" help:"The hook's id."`
}

func (c *hookRemoveCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error { return hook.Remove(ctx, pool, c.ID) })
}
