// Package demo has the data of serve --demo: it fills a database with synthetic history and sends synthetic live traffic to a
// service.
package demo

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

const (
	seed     = 1
	contacts = 160
	days     = 30
	busier   = 3                // times as many events as usual, so that each contact has some
	lead     = 20 * time.Minute // of the live traffic, so that somebody is in the chat from the start
	rate     = 1.5              // live events per second
	workers  = 4
)

// traffic returns the contacts, and their events from shortly before now on.
func traffic(now time.Time) (c simulate.Config, live iter.Seq[presence.Event], err error) {
	home, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		return c, nil, err
	}
	c = simulate.Config{Seed: seed, Contacts: contacts, Instances: simulate.InstanceIDs(seed, 2), Location: home}
	live, err = c.Live(now.Add(-lead), rate)
	return c, live, err
}

// Fill brings the schema up to date and stores the days before now. Play continues from there.
func Fill(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	if err := postgres.Up(ctx, pool); err != nil {
		return err
	}
	c, live, err := traffic(now)
	if err != nil {
		return err
	}
	from, until := now.AddDate(0, 0, -days), now.Add(-lead)
	events, err := c.History(from, until, busier*c.NaturalEvents(from, until))
	if err != nil {
		return err
	}
	lines, out := io.Pipe()
	go func() {
		var line []byte
		write := func(e presence.Event) bool {
			line = gateway.AppendRecord(line[:0], e)
			_, err := out.Write(line)
			return err == nil // otherwise the import has ended and returns the error
		}
		events(write)
		live(func(e presence.Event) bool { return e.ReceivedAt.Before(now) && write(e) })
		out.Close()
	}()
	defer lines.Close()
	_, err = archive.Import(ctx, pool, lines, func(int64, error) {}, nil)
	return err
}

// Play sends the traffic after now to a receiver until ctx is done. now is the same as for Fill.
func Play(ctx context.Context, url, token string, now time.Time) error {
	_, live, err := traffic(now)
	if err != nil {
		return err
	}
	events := func(yield func(presence.Event) bool) {
		live(func(e presence.Event) bool { return e.ReceivedAt.Before(now) || yield(e) })
	}
	_, err = simulate.Play(ctx, simulate.NewClient(workers), url, token, events, workers, func() {})
	return err
}
