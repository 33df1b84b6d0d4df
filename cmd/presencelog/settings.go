package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/settings"
)

type settingsCmd struct {
	Show  settingsShowCmd  `cmd:"" default:"1" help:"Show the settings (the default)."`
	Set   settingsSetCmd   `cmd:"" help:"Change a setting, for all of history at once."`
	Reset settingsResetCmd `cmd:"" help:"Take an instance's own setting away."`
}

// settingNames is a list for kong.
func settingNames() string {
	var names []string
	for _, s := range settings.All {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
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
		fmt.Fprintln(out, "instance\t"+strings.ReplaceAll(settingNames(), ",", "\t"))
		row := func(name string, values settings.Values) {
			for _, one := range settings.All {
				shown := "-"
				if value, ok := values[one.Name]; ok {
					shown = one.Show(value)
				}
				name += "\t" + shown
			}
			fmt.Fprintln(out, name)
		}
		row("(all)", s.Default)
		for _, i := range s.Instances {
			row(i.InstanceID, i.Own)
		}
		return out.Flush()
	})
}

func settingsJSON(s settings.Settings) map[string]any {
	of := func(values settings.Values) map[string]any {
		m := map[string]any{}
		for _, one := range settings.All {
			if value, ok := values[one.Name]; ok {
				m[one.Key] = one.JSON(value)
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
	Name     string `arg:"" enum:"${setting_names}" help:"${enum}."`
	Value    string `arg:"" help:"A timeout like 25s or 5m; a time zone like America/Sao_Paulo; how long to keep, like 90d, 12w, 2y or forever."`
	Instance string `placeholder:"ID" help:"Only for this instance."`
}

func (c *settingsSetCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		return settings.SetText(ctx, pool, c.Instance, c.Name, c.Value)
	})
}

type settingsResetCmd struct {
	database
	Name     string `arg:"" enum:"${setting_names}" help:"${enum}."`
	Instance string `required:"" placeholder:"ID" help:"The instance."`
}

func (c *settingsResetCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		return settings.Reset(ctx, pool, c.Instance, c.Name)
	})
}
