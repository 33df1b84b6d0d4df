package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

type settingsCmd struct {
	Show  settingsShowCmd  `cmd:"" default:"1" help:"Show the settings (the default)."`
	Set   settingsSetCmd   `cmd:"" help:"Change a setting, for all of history at once."`
	Reset settingsResetCmd `cmd:"" help:"Take an instance's own setting away."`
}

type settingsShowCmd struct {
	database
	JSON bool `help:"Write JSON."`
}

func (c *settingsShowCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		s, err := settings.Read(ctx, pool)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(settingsJSON(s))
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "instance\ttyping_timeout\trecording_timeout\tpresence_timeout")
		row := func(name string, t presence.Timeouts) {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", name, own(t.Typing), own(t.Recording), own(t.Presence))
		}
		row("(all)", s.Default)
		for _, i := range s.Instances {
			row(i.InstanceID, i.Own)
		}
		return out.Flush()
	})
}

// own shows a timeout; an instance that has none of its own has 0.
func own(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.String()
}

func settingsJSON(s settings.Settings) map[string]any {
	of := func(t presence.Timeouts) map[string]any {
		m := map[string]any{}
		for name, d := range map[string]time.Duration{
			"typingTimeoutSeconds": t.Typing, "recordingTimeoutSeconds": t.Recording, "presenceTimeoutSeconds": t.Presence,
		} {
			if d > 0 {
				m[name] = d.Seconds()
			}
		}
		return m
	}
	instances := map[string]any{}
	for _, i := range s.Instances {
		instances[i.InstanceID] = of(i.Own)
	}
	all := of(s.Default)
	all["instances"] = instances
	return all
}

type settingsSetCmd struct {
	database
	Name     string        `arg:"" enum:"typing_timeout,recording_timeout,presence_timeout" help:"typing_timeout, recording_timeout or presence_timeout."`
	Value    time.Duration `arg:"" help:"1s to 24h, for example 25s or 5m."`
	Instance string        `placeholder:"ID" help:"Only for this instance."`
}

func (c *settingsSetCmd) Run(ctx context.Context) error {
	if c.Value == 0 {
		return fmt.Errorf("%s is 0; it may be from 1s to 24h", c.Name)
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		return settings.Set(ctx, pool, c.Instance, c.Name, c.Value)
	})
}

type settingsResetCmd struct {
	database
	Name     string `arg:"" enum:"typing_timeout,recording_timeout,presence_timeout" help:"typing_timeout, recording_timeout or presence_timeout."`
	Instance string `required:"" placeholder:"ID" help:"The instance."`
}

func (c *settingsResetCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		return settings.Set(ctx, pool, c.Instance, c.Name, 0)
	})
}
