package main

import (
	"context"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/presencelog/presencelog/internal/api"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

// everything is the limit of a complete list.
const everything = math.MaxInt32

// listFlags are the flags of commands that list something.
type listFlags struct {
	JSON bool `help:"Write JSON."`
}

// print writes a list as JSON or as rows; the first row has the names.
func (f listFlags) print(list any, rows [][]string) error {
	if f.JSON {
		return terminal.PrintJSON(list)
	}
	return terminal.List(os.Stdout, rows)
}

type instancesCmd struct {
	database
	listFlags
}

func (c *instancesCmd) Run(ctx context.Context) error {
	return c.withReader(ctx, presence.Now(), func(reader *history.Reader) error {
		list, err := reader.Instances(ctx, nil, "", everything)
		if err != nil {
			return err
		}
		rows := [][]string{{"instance", "first event", "last event"}}
		for _, i := range list {
			rows = append(rows, []string{i.InstanceID, i.FirstEventAt.Format(time.RFC3339), i.LastEventAt.Format(time.RFC3339)})
		}
		return c.print(map[string]any{"instances": list, "nextCursor": nil}, rows)
	})
}

type contactsCmd struct {
	database
	Instance string   `arg:"" help:"The instanceId."`
	Status   []string `placeholder:"STATUS" help:"Only these statuses: AVAILABLE, UNAVAILABLE, COMPOSING, PAUSED, RECORDING."`
	Search   string   `placeholder:"TEXT" help:"Only phones that contain this text."`
	listFlags
}

func (c *contactsCmd) Run(ctx context.Context) error {
	statuses, err := parseStatuses(c.Status)
	if err != nil {
		return err
	}
	return c.withReader(ctx, presence.Now(), func(reader *history.Reader) error {
		list, err := reader.Contacts(ctx, history.ContactsQuery{
			InstanceID: c.Instance, Statuses: statuses, Search: c.Search, Limit: everything,
		})
		if err != nil {
			return err
		}
		rows := [][]string{{"phone", "status", "since", "first event", "last event"}}
		for _, k := range list {
			rows = append(rows, []string{k.Phone, k.Status.String(), k.Since.Format(time.RFC3339), k.FirstEventAt.Format(time.RFC3339), k.LastEventAt.Format(time.RFC3339)})
		}
		return c.print(map[string]any{"contacts": list, "nextCursor": nil}, rows)
	})
}

type eventsCmd struct {
	rangeCmd
	Phone string `arg:"" help:"The contact's phone, as the gateway sends it."`
}

func (c *eventsCmd) Run(ctx context.Context) error {
	return c.withRange(ctx, func(q rangeReader) error {
		list := []api.Event{}
		for e, err := range q.ContactEvents(ctx, c.Instance, c.Phone, q.in) {
			if err != nil {
				return err
			}
			list = append(list, api.EventOf(e))
		}
		rows := [][]string{{"received", "status", "last seen", "extra"}}
		for _, e := range list {
			lastSeen := ""
			if e.LastSeen != nil {
				lastSeen = strconv.FormatInt(*e.LastSeen, 10)
			}
			rows = append(rows, []string{e.ReceivedAt.Format(time.RFC3339Nano), e.Status.String(), lastSeen, terminal.JSON(string(e.Extra))})
		}
		return c.print(map[string]any{"events": list, "nextCursor": nil}, rows)
	})
}
