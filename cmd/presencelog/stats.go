package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

type statsCmd struct {
	database
	listFlags
}

func (c *statsCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		s, err := db.New(pool).Stats(ctx)
		if err != nil {
			return err
		}
		perEvent := float64(s.TableBytes+s.IndexBytes) / float64(max(s.Events, 1))
		return c.print(map[string]any{
			"instances": s.Instances, "contacts": s.Contacts, "events": s.Events,
			"tableBytes": s.TableBytes, "indexBytes": s.IndexBytes, "bytesPerEvent": perEvent,
			"intervalBytes": s.IntervalBytes, "lateContacts": s.LateContacts,
		}, [][]string{
			{"instances", fmt.Sprint(s.Instances)}, {"contacts", fmt.Sprint(s.Contacts)}, {"events", fmt.Sprint(s.Events)},
			{"table bytes", fmt.Sprint(s.TableBytes)}, {"index bytes", fmt.Sprint(s.IndexBytes)},
			{"bytes per event", fmt.Sprintf("%.1f", perEvent)},
			{"interval bytes", fmt.Sprint(s.IntervalBytes)}, {"contacts with late events", fmt.Sprint(s.LateContacts)},
		})
	})
}
