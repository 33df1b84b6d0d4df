package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/terminal"
)

const brokenShown = 20 // of the broken lines of an import

type importCmd struct {
	database
	File string `arg:"" optional:"" default:"-" help:"NDJSON: the webhook's body with receivedAt added, one a line; - is standard input."`
}

func (c *importCmd) Run(ctx context.Context) error {
	in, size := io.Reader(os.Stdin), int64(0)
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in = file
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		shown := 0
		broken := func(line int64, reason error) {
			if shown++; shown <= brokenShown {
				fmt.Fprintf(os.Stderr, "line %d: %v\n", line, reason)
			}
		}
		progress := terminal.NewProgress(os.Stderr, "importing", "B", size)
		count, err := archive.Import(ctx, pool, in, broken, progress.Set)
		progress.Done()
		if err == nil {
			err = count.Pack(ctx, pool)
		}
		fmt.Printf("added %d, already stored %d, of other types %d, broken %d\n",
			count.Added, count.Present, count.Ignored, count.Broken)
		if err != nil {
			return fmt.Errorf("%w; what was added stays, and the import can be run again", err)
		}
		if count.Broken > 0 {
			return fmt.Errorf("%d lines could not be read and were left out; the others are stored", count.Broken)
		}
		return nil
	})
}

type exportCmd struct {
	database
	Instance string `placeholder:"ID" help:"Only the events of this instance."`
	From     string `placeholder:"TIME" help:"Only events from this time on (RFC 3339)."`
	To       string `placeholder:"TIME" help:"Only events before this time (RFC 3339)."`
}

func (c *exportCmd) Run(ctx context.Context) error {
	what := archive.Selection{InstanceID: c.Instance}
	var err error
	if what.Range.From, err = moment("--from", c.From, time.Time{}); err != nil {
		return err
	}
	if what.Range.To, err = moment("--to", c.To, time.Time{}); err != nil {
		return err
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		progress := terminal.NewProgress(os.Stderr, "exporting", "events", 0)
		_, err := archive.Export(ctx, pool, os.Stdout, what, progress.Set)
		progress.Done()
		return err
	})
}

// moment reads a time given on the command line.
func moment(flag, value string, missing time.Time) (time.Time, error) {
	if value == "" {
		return missing, nil
	}
	at, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return at, fmt.Errorf("%s: %q is not a time like 2026-10-01T09:00:00-03:00", flag, value)
	}
	return at, nil
}

// rangeFlags are the flags of a range of time.
type rangeFlags struct {
	From string `placeholder:"TIME" help:"Where the range begins (RFC 3339); default: 24 hours before --to."`
	To   string `placeholder:"TIME" help:"Where the range ends (RFC 3339); default: now."`
	TZ   string `default:"UTC" help:"IANA time zone to show times in and to cut days in."`
	JSON bool   `help:"Write the JSON of the API."`
}

func (f rangeFlags) read(now time.Time) (in history.Range, loc *time.Location, err error) {
	if loc, err = time.LoadLocation(f.TZ); err != nil {
		return in, nil, fmt.Errorf("--tz: there is no time zone %q; one is America/Sao_Paulo", f.TZ)
	}
	if in.To, err = moment("--to", f.To, now); err != nil {
		return in, nil, err
	}
	if in.From, err = moment("--from", f.From, in.To.Add(-24*time.Hour)); err != nil {
		return in, nil, err
	}
	if !in.From.Before(in.To) {
		return in, nil, errors.New("--from must be earlier than --to")
	}
	return in, loc, nil
}
