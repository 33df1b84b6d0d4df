package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

// statusFlags are the flags of commands that show what contacts do now.
type statusFlags struct {
	Instance string   `placeholder:"ID" help:"Only this instance."`
	Status   []string `placeholder:"STATUS" help:"Only these statuses: AVAILABLE, UNAVAILABLE, COMPOSING, PAUSED, RECORDING."`
	TZ       string   `env:"PRESENCELOG_TZ" placeholder:"ZONE" help:"IANA time zone of times; default: the setting time_zone."`
	listFlags
}

// parseStatuses reads the flag --status, whose values may be in lower case.
func parseStatuses(names []string) ([]presence.Status, error) {
	for i, name := range names {
		names[i] = strings.ToUpper(name)
	}
	statuses, err := presence.ParseStatuses(names)
	if err != nil {
		err = fmt.Errorf("--status: %w", err)
	}
	return statuses, err
}

type nowCmd struct {
	database
	statusFlags
	All   bool `help:"Also show contacts that are not in the chat."`
	Limit int  `default:"100" help:"How many contacts to show at most."`
}

func (c *nowCmd) Run(ctx context.Context) error {
	statuses, err := parseStatuses(c.Status)
	if err != nil {
		return err
	}
	if len(statuses) == 0 && !c.All {
		statuses = []presence.Status{presence.Available, presence.Composing, presence.Paused, presence.Recording}
	}
	if c.Limit < 1 {
		return errors.New("--limit must be at least 1")
	}
	now := presence.Now()
	return c.withReader(ctx, now, func(reader *history.Reader) error {
		loc, err := reader.Zone(ctx, c.Instance, c.TZ)
		if err != nil {
			return flagError(err)
		}
		query := history.NowQuery{InstanceID: c.Instance, Statuses: statuses, Sort: history.ByActivity, Limit: min(c.Limit, everything-1) + 1}
		found, err := reader.Now(ctx, query)
		if err != nil {
			return err
		}
		page := api.NowPage(query, found)
		rows := [][]string{{"status", "since", "phone", "instance", "last event"}}
		for _, s := range page.Contacts {
			rows = append(rows, []string{s.Status.String(), terminal.Length(now.Sub(s.Since).Seconds()), s.Phone, s.InstanceID, s.LastEventAt.In(loc).Format(time.DateTime)})
		}
		return c.print(page, rows)
	})
}

type watchCmd struct {
	database
	statusFlags
	Phone []string `placeholder:"PHONE" help:"Only these contacts."`
}

func (c *watchCmd) Run(ctx context.Context) error {
	statuses, err := parseStatuses(c.Status)
	if err != nil {
		return err
	}
	filter := live.Filter{Phones: c.Phone, Statuses: statuses}
	if c.Instance != "" {
		filter.Instances = []string{c.Instance}
	}
	format := "%s\t%s\t%s\t%s\n"
	if terminal.IsTerminal(os.Stdout) {
		format = "%s  %-11s  %s  %s\n"
	}
	c.lasting = true
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		reader := history.NewReader(pool, presence.Now)
		if _, err := reader.Now(ctx, history.NowQuery{InstanceID: c.Instance, Sort: history.ByActivity, Limit: 1}); err != nil {
			return nameInstances(ctx, reader, err)
		}
		loc, err := reader.Zone(ctx, c.Instance, c.TZ)
		if err != nil {
			return flagError(err)
		}
		hub := live.New(pool, c.log(), presence.Now)
		defer hub.Close()
		client := hub.Subscribe(filter, "")
		defer client.Close()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-client.Wake():
			}
			changes, err := client.Take()
			if err != nil {
				return err
			}
			for _, m := range changes {
				if c.JSON {
					err = terminal.PrintJSONLine(m.State)
				} else {
					_, err = fmt.Printf(format, m.Since.In(loc).Format(time.TimeOnly), m.Status, terminal.Text(m.Phone), terminal.Text(m.InstanceID))
				}
				if err != nil {
					return err
				}
			}
		}
	})
}
