package main

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/mcp"
	"github.com/presencelog/presencelog/internal/presence"
)

type mcpCmd struct {
	database
	Instance []string `placeholder:"ID" help:"Only these instances."`
}

func (c *mcpCmd) Run(ctx context.Context) error {
	c.lasting = true
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		hub := live.New(pool, c.log(), presence.Now)
		defer hub.Close()
		server := mcp.NewServer(mcp.Config{
			History: history.NewReader(pool, presence.Now), Live: hub, Version: version(), Now: presence.Now, Visible: c.Instance, MayWait: true,
			Run: func(ctx context.Context, _ mcp.Weight, query func(context.Context) error) error {
				return query(ctx)
			},
		})
		err := server.Run(ctx, &sdk.StdioTransport{})
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}
