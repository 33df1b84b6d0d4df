package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

// rangeCmd has the flags of commands that read a time range of an instance.
type rangeCmd struct {
	database
	Instance string `arg:"" help:"The instanceId."`
	From     string `placeholder:"TIME" help:"Start of the range: RFC 3339, or a date, which means the start of that day; default: 24 hours before --to."`
	To       string `placeholder:"TIME" help:"End of the range, exclusive; default: now."`
	Last     string `placeholder:"LENGTH" help:"Length of the range, instead of --from: 90m, 24h, 7d, 4w."`
	TZ       string `env:"PRESENCELOG_TZ" placeholder:"ZONE" help:"IANA time zone of dates and times; default: the setting time_zone of the instance."`
	listFlags
}

// rangeReader reads a range of time. The reader's clock is fixed at now.
type rangeReader struct {
	*history.Reader
	now time.Time
	in  history.Range
	loc *time.Location
}

// from returns the start of the range in the time zone of the output.
func (q rangeReader) from() time.Time { return q.in.From.In(q.loc) }

// withRange determines the range, opens the database and calls do.
func (c rangeCmd) withRange(ctx context.Context, do func(rangeReader) error) error {
	q := rangeReader{now: presence.Now(), loc: time.UTC}
	text := history.RangeText{From: c.From, To: c.To, Last: c.Last}
	var err error
	if c.TZ != "" {
		if q.loc, err = presence.LoadZone(c.TZ); err != nil {
			return fmt.Errorf("--tz: %w", err)
		}
	}
	q.in, err = text.Range(q.now, q.loc)
	if err != nil && (c.TZ != "" || !text.NeedsZone()) { // otherwise it depends on the instance's time zone
		return flagError(err)
	}
	return c.withReader(ctx, q.now, func(reader *history.Reader) error {
		q.Reader = reader
		if c.TZ == "" {
			if q.loc, err = reader.Zone(ctx, c.Instance, ""); err != nil {
				return err
			}
			if q.in, err = text.Range(q.now, q.loc); err != nil {
				return flagError(err)
			}
		}
		return do(q)
	})
}

// draw writes a result: JSON with --json, a drawing on a terminal, otherwise lines for other programs.
func (c rangeCmd) draw(result any, draw func(terminal.Screen) string, plain func() string) (err error) {
	switch {
	case c.JSON:
		return terminal.PrintJSON(result)
	case terminal.IsTerminal(os.Stdout):
		_, err = os.Stdout.WriteString(draw(terminal.ScreenOf(os.Stdout)))
	default:
		_, err = os.Stdout.WriteString(plain())
	}
	return err
}

// flagError adds the flag's name to the error of an invalid range.
func flagError(err error) error {
	if wrong, ok := errors.AsType[*history.InvalidError](err); ok {
		return fmt.Errorf("--%s: %s", wrong.Field, wrong.Reason)
	}
	return err
}
