package main

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
	"github.com/presencelog/presencelog/internal/terminal"
)

// secondsPerEvent is how often a contact in the chat makes an event, at the most it would do for long.
const secondsPerEvent = 120

type simulateCmd struct {
	Days   int           `xor:"how" required:"" help:"Print the NDJSON of so many days up to now, for import."`
	URL    string        `xor:"how" required:"" placeholder:"URL" help:"POST live traffic to this receiver, as Z-API does."`
	Events int           `help:"With --days: how many events; default: as many as the contacts would make."`
	To     string        `placeholder:"TIME" help:"With --days: where the days end (RFC 3339); default: now."`
	Rate   float64       `default:"10" help:"With --url: events a second."`
	For    time.Duration `help:"With --url: how long; default: until it is stopped."`
	Token  string        `help:"With --url: the webhook's secret."`

	Contacts  int    `help:"How many contacts; default: 200, or with --url as many as make that rate together."`
	Instances int    `default:"1" help:"How many instances they are spread over."`
	Seed      uint64 `default:"1" help:"The same seed makes the same contacts and habits."`
	TZ        string `default:"America/Sao_Paulo" help:"IANA time zone whose hours they keep."`
}

func (c *simulateCmd) Run(ctx context.Context) error {
	loc, err := time.LoadLocation(c.TZ)
	if err != nil {
		return fmt.Errorf("--tz: there is no time zone %q; one is America/Sao_Paulo", c.TZ)
	}
	if c.Instances < 1 {
		return fmt.Errorf("--instances is %d; it must be at least 1", c.Instances)
	}
	if c.Contacts == 0 {
		c.Contacts = 200
		if c.URL != "" {
			c.Contacts = max(c.Contacts, int(c.Rate*secondsPerEvent))
		}
	}
	traffic := simulate.Config{
		Seed: c.Seed, Contacts: c.Contacts, Instances: simulate.InstanceIDs(c.Seed, c.Instances), Location: loc,
	}
	if c.URL != "" {
		return c.live(ctx, traffic)
	}
	return c.past(ctx, traffic)
}

func (c *simulateCmd) past(ctx context.Context, traffic simulate.Config) error {
	if c.Days < 1 {
		return fmt.Errorf("--days is %d; it must be at least 1", c.Days)
	}
	to, err := moment("--to", c.To, presence.Now())
	if err != nil {
		return err
	}
	from := to.AddDate(0, 0, -c.Days)
	if c.Events == 0 {
		c.Events = traffic.NaturalEvents(from, to)
	}
	events, err := traffic.History(from, to, c.Events)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	progress := terminal.NewProgress(os.Stderr, "simulating", "events", int64(c.Events))
	defer progress.Done()
	var line []byte
	for e := range events {
		line = gateway.AppendRecord(line[:0], e)
		if _, err := out.Write(line); err != nil {
			return err
		}
		progress.Add(1)
		if ctx.Err() != nil {
			break
		}
	}
	return out.Flush()
}

func (c *simulateCmd) live(ctx context.Context, traffic simulate.Config) error {
	if c.Rate <= 0 {
		return fmt.Errorf("--rate is %g; it must be above 0", c.Rate)
	}
	var events iter.Seq[presence.Event]
	events, err := traffic.Live(presence.Now(), c.Rate)
	if err != nil {
		return err
	}
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	const workers = 32
	progress := terminal.NewProgress(os.Stderr, "sending", "events", 0)
	tally, err := simulate.Play(ctx, simulate.NewClient(workers), c.URL, c.Token, events, 0, workers,
		func(t simulate.Tally) { progress.Set(int64(t.Sent)) })
	progress.Done()
	fmt.Printf("sent %d, failed %d\n", tally.Sent, tally.Failures())
	if err == nil && tally.Failures() > 0 {
		err = fmt.Errorf("%d events were refused, the last: %s", tally.Failures(), tally.LastError)
	}
	return err
}
