package main

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/settings"
)

type settingsCmd struct {
	Show  settingsShowCmd  `cmd:"" default:"withargs" help:"Show the settings (the default)."`
	Set   settingsSetCmd   `cmd:"" help:"Change a setting. It applies to the whole history."`
	Reset settingsResetCmd `cmd:"" help:"Reset a setting to its default, or remove an instance's override."`
}

func settingNames() (names []string) {
	for _, s := range settings.All {
		names = append(names, s.Name)
	}
	return names
}

type settingsShowCmd struct {
	database
	listFlags
}

func (c *settingsShowCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		s, err := settings.Read(ctx, pool)
		if err != nil {
			return err
		}
		rows := [][]string{append([]string{"instance"}, settingNames()...)}
		for _, i := range append([]settings.Instance{{InstanceID: "(all)", Own: s.Default}}, s.Instances...) {
			row := []string{i.InstanceID}
			for _, one := range settings.All {
				shown := "-"
				if value, ok := i.Own[one.Name]; ok {
					shown = one.Show(value)
				}
				row = append(row, shown)
			}
			rows = append(rows, row)
		}
		return c.print(settingsJSON(s), rows)
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
	Name     string `arg:"" enum:"${setting_names}" help:"The setting: ${enum}."`
	Value    string `arg:"" help:"A timeout like 25s or 5m; a time zone like America/Sao_Paulo; how long to keep, like 90d, 12w, 2y or forever."`
	Instance string `placeholder:"ID" help:"Apply it to this instance only."`
}

func (c *settingsSetCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		if err := settings.CheckInstance(ctx, pool, c.Instance); err != nil {
			return err
		}
		return settings.Set(ctx, pool, c.Instance, c.Name, c.Value)
	})
}

type settingsResetCmd struct {
	database
	Name     string `arg:"" enum:"${setting_names}" help:"The setting: ${enum}."`
	Instance string `placeholder:"ID" help:"Remove this instance's override."`
}

func (c *settingsResetCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		if err := settings.CheckInstance(ctx, pool, c.Instance); err != nil {
			return err
		}
		return settings.Reset(ctx, pool, c.Instance, c.Name)
	})
}
