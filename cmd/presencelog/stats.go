package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

type statsCmd struct {
	database
	JSON bool `help:"Write JSON."`
}

func (c *statsCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		s, err := db.New(pool).Stats(ctx)
		if err != nil {
			return err
		}
		perEvent := float64(s.TableBytes+s.IndexBytes) / float64(max(s.Events, 1))
		if c.JSON {
			return printJSON(map[string]any{
				"instances": s.Instances, "contacts": s.Contacts, "events": s.Events,
				"tableBytes": s.TableBytes, "indexBytes": s.IndexBytes, "bytesPerEvent": perEvent,
			})
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(out, "instances\t%d\ncontacts\t%d\nevents\t%d\n", s.Instances, s.Contacts, s.Events)
		fmt.Fprintf(out, "table bytes\t%d\nindex bytes\t%d\nbytes per event\t%.1f\n", s.TableBytes, s.IndexBytes, perEvent)
		return out.Flush()
	})
}
