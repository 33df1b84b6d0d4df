package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

type timelineCmd struct {
	rangeCmd
	Phone string `arg:"" help:"The contact's phone, as the gateway sends it."`
}

func (c *timelineCmd) Run(ctx context.Context) error {
	return c.withRange(ctx, func(q rangeReader) error {
		spans, err := q.Timeline(ctx, c.Instance, c.Phone, q.in, time.Time{}, everything)
		if err != nil {
			return err
		}
		return c.draw(map[string]any{"spans": spans, "nextCursor": nil},
			func(s terminal.Screen) string { return s.Timeline(spans, q.from(), q.in.To, q.now) },
			func() string { return terminal.Plain(spans) })
	})
}

type durationsCmd struct {
	rangeCmd
	Phone  string `arg:"" optional:"" help:"The contact's phone, as the gateway sends it; without it, all contacts together."`
	Bucket string `enum:"none,hour,day,week,month" default:"none" help:"Divide the range into buckets: ${enum}."`
}

func (c *durationsCmd) Run(ctx context.Context) error {
	return c.withRange(ctx, func(q rangeReader) error {
		d, err := q.Durations(ctx, c.Instance, c.Phone, history.Calendar{Range: q.in, Bucket: history.Bucket(c.Bucket), Zone: q.loc})
		if err != nil {
			return err
		}
		return c.draw(d,
			func(s terminal.Screen) string { return s.Durations(d.Total, c.Bucket, d.Buckets, q.loc) },
			func() string { return terminal.PlainDurations(d.Total, d.Buckets, d.From, d.To) })
	})
}

type compareCmd struct {
	rangeCmd
	Phones []string `arg:"" name:"phone" help:"The contacts' phones, 2 to 100."`
}

func (c *compareCmd) Run(ctx context.Context) error {
	if len(c.Phones) < 2 || len(c.Phones) > 100 {
		return errors.New("pass 2 to 100 phones")
	}
	return c.withRange(ctx, func(q rangeReader) error {
		d, err := q.Compare(ctx, c.Instance, c.Phones, q.in)
		if err != nil {
			return err
		}
		return c.draw(d,
			func(s terminal.Screen) string { return s.Comparison(d.Contacts, q.from(), q.in.To) },
			func() string { return terminal.PlainComparison(d.Contacts, d.From, d.To) })
	})
}

type topCmd struct {
	rangeCmd
	By    history.By `enum:"typing,recording,inChat,visits" default:"typing" help:"Rank by the time of typing, recording or inChat, or by the number of visits: ${enum}."`
	Limit int        `default:"10" help:"How many contacts to show at most."`
}

func (c *topCmd) Run(ctx context.Context) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return errors.New("--limit must be from 1 to 1000")
	}
	return c.withRange(ctx, func(q rangeReader) error {
		top, err := q.Top(ctx, c.Instance, c.By, q.in, c.Limit)
		if err != nil {
			return err
		}
		return c.draw(top,
			func(s terminal.Screen) string {
				return s.Top(top.Contacts, c.By == history.ByVisits, q.from(), q.in.To)
			},
			func() string { return terminal.Plain(top.Contacts) })
	})
}

type heatmapCmd struct {
	rangeCmd
	Phone   string           `arg:"" optional:"" help:"The contact's phone, as the gateway sends it; without it, all contacts together."`
	Measure presence.Measure `enum:"typing,recording,inChat" default:"inChat" help:"What to add up: ${enum}."`
}

func (c *heatmapCmd) Run(ctx context.Context) error {
	return c.withRange(ctx, func(q rangeReader) error {
		h, err := q.Heatmap(ctx, c.Instance, c.Phone, c.Measure, q.in, q.loc)
		if err != nil {
			return err
		}
		return c.draw(h,
			func(s terminal.Screen) string { return s.Heatmap(h.Cells, q.from(), q.in.To) },
			func() string { return terminal.Plain(h.Cells) })
	})
}

type habitsCmd struct {
	rangeCmd
	Phone string `arg:"" help:"The contact's phone, as the gateway sends it."`
}

func (c *habitsCmd) Run(ctx context.Context) error {
	return c.withRange(ctx, func(q rangeReader) error {
		h, err := q.Habits(ctx, c.Instance, c.Phone, q.in, q.loc)
		if err != nil {
			return err
		}
		return c.draw(h,
			func(s terminal.Screen) string { return s.Habits(h.Cells, h.Best, q.from(), q.in.To) },
			func() string { return terminal.Plain(h.Cells) })
	})
}

// withReader opens the database for a command that reads history as of now.
func (d database) withReader(ctx context.Context, now time.Time, do func(*history.Reader) error) error {
	return d.withPool(ctx, func(pool *pgxpool.Pool) error {
		reader := history.NewReader(pool, presence.Now).At(now)
		return nameInstances(ctx, reader, do(reader))
	})
}

// nameInstances adds names of existing instances to the error of an unknown one.
func nameInstances(ctx context.Context, reader *history.Reader, err error) error {
	missing, ok := errors.AsType[*history.NotFoundError](err)
	if !ok || missing.Phone != "" {
		return err
	}
	const listed = 5
	id := missing.InstanceID
	instances, err := reader.Instances(ctx, nil, "", listed+1)
	if err != nil {
		return err
	}
	if len(instances) == 0 {
		return fmt.Errorf("there is no instance %q; there are no events yet", id)
	}
	var names []string
	for _, i := range instances[:min(listed, len(instances))] {
		names = append(names, terminal.Text(i.InstanceID))
	}
	if len(instances) > listed {
		names = append(names, "…")
	}
	return fmt.Errorf("there is no instance %q; the instances are: %s", id, strings.Join(names, ", "))
}
