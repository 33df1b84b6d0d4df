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
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

const invalidShown = 20 // invalid lines of an import that are printed

type importCmd struct {
	database
	File string `arg:"" optional:"" default:"-" help:"NDJSON file, each line a webhook's body with receivedAt added; - is standard input."`
}

func (c *importCmd) Run(ctx context.Context) error {
	in, size := io.Reader(os.Stdin), int64(0)
	if info, err := os.Stdin.Stat(); c.File == "-" && (err != nil || !info.Mode().IsRegular()) {
		c.lasting = true // the writer of the pipe may be a presencelog that would wait for this one
	}
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
	in, err := archive.Text(in)
	if err != nil {
		return err
	}
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		shown := 0
		invalid := func(line int64, reason error) {
			if shown++; shown <= invalidShown {
				fmt.Fprintf(os.Stderr, "line %d: %v\n", line, reason)
			}
		}
		progress := terminal.NewProgress(os.Stderr, "importing", "B", size)
		count, err := archive.Import(ctx, pool, in, invalid, progress.Set)
		progress.Done()
		if err == nil { // serve does it too, but rests most of the time
			err = intervals.Refresh(ctx, pool, presence.Now, 0)
		}
		if err == nil || errors.Is(err, intervals.ErrBusy) {
			err = count.Reindex(ctx, pool)
		}
		fmt.Printf("added %d, duplicates %d, ignored %d, invalid %d\n",
			count.Added, count.Duplicates, count.Ignored, count.Invalid)
		if count.Erased > 0 {
			fmt.Printf("skipped %d events of contacts that were erased\n", count.Erased)
		}
		if err != nil {
			return fmt.Errorf("%w; added events stay, and you can run the import again", err)
		}
		if count.Invalid > 0 {
			return fmt.Errorf("skipped invalid lines: %d; the others are stored", count.Invalid)
		}
		return nil
	})
}

type exportCmd struct {
	database
	Format   string `enum:"ndjson,parquet" default:"ndjson" help:"ndjson writes events to standard output; parquet writes events and intervals to files in --out."`
	Out      string `placeholder:"DIR" type:"path" help:"New or empty directory for Parquet files, one for each month and table."`
	Instance string `placeholder:"ID" help:"Only the events of this instance."`
	From     string `placeholder:"TIME" help:"Only events at or after this time: RFC 3339, or a date, which means the start of that day in the time zone of the instance or, without --instance, of the setting time_zone."`
	To       string `placeholder:"TIME" help:"Only events before this time."`
	Last     string `placeholder:"LENGTH" help:"Only the latest events, instead of --from: 90m, 24h, 7d, 4w."`

	Pseudonyms bool `help:"Write keyed hashes instead of phones, and no unknown fields, which may have names in them. Such an export cannot be imported."`
}

func (c *exportCmd) Run(ctx context.Context) error {
	if (c.Format == "parquet") != (c.Out != "") {
		return errors.New("pass --format parquet and --out DIR together")
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		reader := history.NewReader(pool, presence.Now)
		loc, err := reader.Zone(ctx, c.Instance, "")
		if err != nil {
			return err
		}
		in, err := c.timeRange(loc)
		if err != nil {
			return flagError(err)
		}
		what := archive.Selection{InstanceID: c.Instance, Range: in, Pseudonyms: c.Pseudonyms}
		if c.Format == "parquet" {
			progress := terminal.NewProgress(os.Stderr, "exporting", "rows", 0)
			_, err = archive.ExportParquet(ctx, pool, c.Out, what, progress.Set)
			progress.Done()
		} else {
			progress := terminal.NewProgress(os.Stderr, "exporting", "events", 0)
			_, err = archive.Export(ctx, pool, os.Stdout, what, progress.Set)
			progress.Done()
		}
		return nameInstances(ctx, reader, err)
	})
}

// timeRange returns the range of the flags, with a zero time where it has no end.
func (c *exportCmd) timeRange(loc *time.Location) (in history.Range, err error) {
	if c.Last != "" {
		return history.RangeText{From: c.From, To: c.To, Last: c.Last}.Range(presence.Now(), loc)
	}
	if in.From, err = history.ParseMoment("from", c.From, time.Time{}, loc); err != nil {
		return in, err
	}
	if in.To, err = history.ParseMoment("to", c.To, time.Time{}, loc); err == nil && !in.To.IsZero() && !in.From.Before(in.To) {
		err = &history.InvalidError{Field: "from", Reason: "it must be earlier than to"}
	}
	return in, err
}
