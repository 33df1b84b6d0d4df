package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

type eraseCmd struct {
	database
	Instance string `arg:"" help:"The instance."`
	Phone    string `arg:"" optional:"" help:"The contact's phone; without it, the whole instance."`
	Block    bool   `help:"Also refuse future events. Only a keyed hash of its name is stored."`
	Yes      bool   `help:"Confirm the deletion."`
	JSON     bool   `help:"Write JSON."`
}

func (c *eraseCmd) Run(ctx context.Context) error {
	if !c.Yes {
		return errors.New("this deletes every trace for good; pass --yes to confirm")
	}
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		result, err := erasure.Erase(ctx, pool, erasure.Request{InstanceID: c.Instance, Phone: c.Phone, Block: c.Block, By: "command line"})
		if err != nil {
			return err
		}
		if c.JSON {
			return terminal.PrintJSON(result)
		}
		fmt.Printf("erased %d contacts, %d events, %d rejected payloads\n", result.Contacts, result.Events, result.Rejected)
		return nil
	})
}

type subjectReportCmd struct {
	database
	Instance string `arg:"" help:"The instance."`
	Phone    string `arg:"" help:"The contact's phone."`
	Purpose  string `placeholder:"TEXT" help:"Purpose of the collection, for the report."`
}

func (c *subjectReportCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		report, err := erasure.ReportOn(ctx, pool, c.Instance, c.Phone, presence.Now())
		if err != nil {
			return err
		}
		report.Purpose = c.Purpose
		return terminal.PrintJSON(report)
	})
}
