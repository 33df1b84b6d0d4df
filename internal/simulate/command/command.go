// Package command is the command simulate of presencelog and presencebench.
package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
	"github.com/presencelog/presencelog/internal/terminal"
)

// secondsPerEvent is the interval between events of a contact that stays in the chat.
const secondsPerEvent = 120

// Command is the flags of simulate.
type Command struct {
	Days   int           `xor:"how" placeholder:"N" help:"Print the events of this many days up to now as NDJSON, for import."`
	URL    string        `xor:"how" placeholder:"URL" help:"Send live events to this receiver, as Z-API does."`
	Events int           `placeholder:"N" help:"With --days: number of events; default: typical for the number of contacts."`
	To     string        `placeholder:"TIME" help:"With --days: end of the days; default: now."`
	Rate   float64       `default:"10" help:"With --url: events per second."`
	For    time.Duration `placeholder:"DURATION" help:"With --url: for how long; default: until interrupted."`
	Token  string        `env:"PRESENCELOG_TOKEN" placeholder:"TOKEN" help:"With --url: the webhook token."`

	Contacts  int    `placeholder:"N" help:"Number of contacts; default: 200, or with --url as many as the rate needs."`
	Instances int    `default:"1" help:"Number of instances that the contacts belong to."`
	Seed      uint64 `default:"1" help:"Seed of the random numbers. The same seed generates the same contacts and habits."`
	TZ        string `default:"America/Sao_Paulo" help:"IANA time zone of the contacts."`
}

// Run prints or sends the traffic.
func (c *Command) Run(ctx context.Context) error {
	if c.Days == 0 && c.URL == "" {
		return errors.New("pass --days to print past events, or --url to send live ones")
	}
	loc, err := presence.LoadZone(c.TZ)
	if err != nil {
		return fmt.Errorf("--tz: %w", err)
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

func (c *Command) past(ctx context.Context, traffic simulate.Config) error {
	if c.Days < 1 {
		return fmt.Errorf("--days is %d; it must be at least 1", c.Days)
	}
	to, err := history.ParseMoment("to", c.To, presence.Now(), time.UTC)
	if err != nil {
		return fmt.Errorf("--%w", err)
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

func (c *Command) live(ctx context.Context, traffic simulate.Config) error {
	if c.Rate <= 0 {
		return fmt.Errorf("--rate is %g; it must be above 0", c.Rate)
	}
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
	result, err := simulate.Play(ctx, simulate.NewClient(workers), c.URL, c.Token, events, workers, func() { progress.Add(1) })
	progress.Done()
	fmt.Printf("sent %d, failed %d\n", result.Sent, result.Failed)
	if err == nil && result.Failed > 0 {
		err = fmt.Errorf("%d events were rejected, the last: %w", result.Failed, result.LastError)
	}
	return err
}
