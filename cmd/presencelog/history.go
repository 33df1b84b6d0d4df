package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

const timelineRows = 10_000 // asked for at once

type timelineCmd struct {
	database
	rangeFlags
	Instance string `arg:"" help:"The instanceId."`
	Phone    string `arg:"" help:"The contact's phone, as the gateway sends it."`
}

func (c *timelineCmd) Run(ctx context.Context) error {
	now := presence.Now()
	in, loc, err := c.rangeFlags.read(now)
	if err != nil {
		return err
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		reader := history.NewReader(pool, presence.Now).At(now)
		spans := []presence.Span{}
		rest, startsFrom := in, time.Time{}
		for {
			page, err := reader.Timeline(ctx, c.Instance, c.Phone, rest, startsFrom, timelineRows)
			if err != nil {
				return err
			}
			spans = append(spans, page...)
			if len(page) < timelineRows || page[len(page)-1].End == nil {
				break
			}
			startsFrom = *page[len(page)-1].End
			if !startsFrom.Before(in.To) {
				break
			}
			rest.From = startsFrom
		}
		switch {
		case c.JSON:
			return printJSON(map[string]any{"spans": spans, "nextCursor": nil})
		case terminal.IsTerminal(os.Stdout):
			return terminal.Timeline(os.Stdout, spans, in.From.In(loc), in.To.In(loc), now,
				terminal.Width(os.Stdout), terminal.Colour(os.Stdout))
		default:
			return terminal.PlainTimeline(os.Stdout, spans)
		}
	})
}

type durationsCmd struct {
	database
	rangeFlags
	Instance string `arg:"" help:"The instanceId."`
	Phone    string `arg:"" optional:"" help:"The contact's phone, as the gateway sends it; without it, all contacts together."`
	Bucket   string `enum:"none,hour,day,week,month" default:"none" help:"What to cut the range into: ${enum}."`
}

func (c *durationsCmd) Run(ctx context.Context) error {
	now := presence.Now()
	in, loc, err := c.rangeFlags.read(now)
	if err != nil {
		return err
	}
	over := history.Calendar{Range: in, Bucket: history.Bucket(c.Bucket), Zone: loc}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		reader := history.NewReader(pool, presence.Now).At(now)
		var d history.Sums
		if c.Phone == "" {
			d, err = reader.InstanceDurations(ctx, c.Instance, over)
		} else {
			d, err = reader.ContactDurations(ctx, c.Instance, c.Phone, over)
		}
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(d)
		case terminal.IsTerminal(os.Stdout):
			return terminal.Durations(os.Stdout, d.Total, d.Buckets, loc, terminal.Width(os.Stdout), terminal.Colour(os.Stdout))
		default:
			return terminal.PlainDurations(os.Stdout, d.Total, d.Buckets, d.From, d.To)
		}
	})
}

func printJSON(v any) error {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}
