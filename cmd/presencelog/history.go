package main

import (
	"context"
	"encoding/json"
	"errors"
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

type compareCmd struct {
	database
	rangeFlags
	Instance string   `arg:"" help:"The instanceId."`
	Phones   []string `arg:"" name:"phone" help:"The contacts' phones, 2 to 100."`
}

func (c *compareCmd) Run(ctx context.Context) error {
	now := presence.Now()
	in, loc, err := c.rangeFlags.read(now)
	if err != nil {
		return err
	}
	if len(c.Phones) < 2 || len(c.Phones) > 100 {
		return errors.New("give 2 to 100 phones")
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		d, err := history.NewReader(pool, presence.Now).At(now).Compare(ctx, c.Instance, c.Phones, in)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(d)
		case terminal.IsTerminal(os.Stdout):
			return terminal.Comparison(os.Stdout, d.Contacts, in.From.In(loc), in.To, terminal.Width(os.Stdout), terminal.Colour(os.Stdout))
		default:
			return terminal.PlainComparison(os.Stdout, d.Contacts, d.From, d.To)
		}
	})
}

type topCmd struct {
	database
	rangeFlags
	Instance string     `arg:"" help:"The instanceId."`
	By       history.By `enum:"typing,recording,inChat,visits" default:"typing" help:"What they have most of: time of typing, recording, inChat, or visits by their number."`
	Limit    int        `default:"10" help:"How many contacts to show at most."`
}

func (c *topCmd) Run(ctx context.Context) error {
	now := presence.Now()
	in, loc, err := c.rangeFlags.read(now)
	if err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 1000 {
		return errors.New("--limit must be from 1 to 1000")
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		measure, byCount := c.By.Measure()
		contacts, err := history.NewReader(pool, presence.Now).At(now).Top(ctx, c.Instance, measure, byCount, in, c.Limit)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(history.Top{From: in.From.UTC(), To: in.To.UTC(), By: c.By, Contacts: contacts})
		case terminal.IsTerminal(os.Stdout):
			return terminal.Top(os.Stdout, contacts, byCount, in.From.In(loc), in.To, terminal.Width(os.Stdout), terminal.Colour(os.Stdout))
		default:
			return terminal.PlainTop(os.Stdout, contacts)
		}
	})
}

type heatmapCmd struct {
	database
	rangeFlags
	Instance string           `arg:"" help:"The instanceId."`
	Measure  presence.Measure `enum:"typing,recording,inChat" default:"inChat" help:"What to sum up: ${enum}."`
}

func (c *heatmapCmd) Run(ctx context.Context) error {
	now := presence.Now()
	in, loc, err := c.rangeFlags.read(now)
	if err != nil {
		return err
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		cells, err := history.NewReader(pool, presence.Now).At(now).Heatmap(ctx, c.Instance, c.Measure, in, loc)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(history.Heatmap{From: in.From.UTC(), To: in.To.UTC(), TZ: loc.String(), Measure: c.Measure, Cells: cells})
		case terminal.IsTerminal(os.Stdout):
			return terminal.Heatmap(os.Stdout, cells, in.From.In(loc), in.To, terminal.Width(os.Stdout), terminal.Colour(os.Stdout))
		default:
			return terminal.PlainHeatmap(os.Stdout, cells)
		}
	})
}

func printJSON(v any) error {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}
