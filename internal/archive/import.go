// Package archive carries history in and out of the database as NDJSON: one event a line, the body as the gateway sent it
// with receivedAt added.
package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	chunkEvents = 50_000  // many of each contact, so that they lie together on disk
	maxLine     = 1 << 20 // bytes
	packAfter   = 100_000 // events added
)

// Imported counts what became of the lines of an import.
type Imported struct {
	Added   int64 // events that are new
	Present int64 // events that were there
	Ignored int64 // callbacks of other types
	Broken  int64 // lines that could not be read
}

// Import stores the events of an NDJSON stream. A line that cannot be read is given to broken, with its number from 1 and
// the reason, and left out; the rest goes on. What was stored before an error stays, and the same stream can be imported
// again: nothing is stored twice. progress, if not nil, is called with the bytes read so far.
func Import(
	ctx context.Context, pool *pgxpool.Pool, r io.Reader, broken func(line int64, reason error), progress func(int64),
) (Imported, error) {
	var count Imported
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// One goroutine reads and arranges the next chunk while the other stores the last one.
	chunks := make(chan ingest.Arranged)
	stored := make(chan error, 1)
	go func() {
		store := ingest.NewStore(pool)
		var err error
		for chunk := range chunks {
			var added int64
			if added, err = store.MergeArranged(ctx, chunk); err != nil {
				cancel(err)
				break
			}
			count.Added += added
			count.Present += int64(len(chunk.Events)) - added
		}
		stored <- err
	}()

	d := decoder{r: bufio.NewReaderSize(r, maxLine), broken: broken, count: &count}
	var readErr error
	for readErr == nil {
		var chunk []presence.Event
		chunk, readErr = d.chunk()
		if len(chunk) > 0 {
			arranged, err := ingest.Arrange(chunk)
			if err != nil {
				readErr = err
				break
			}
			select {
			case chunks <- arranged:
			case <-ctx.Done():
				readErr = context.Cause(ctx)
			}
		}
		if progress != nil {
			progress(d.bytes)
		}
	}
	close(chunks)
	if err := <-stored; err != nil {
		return count, fmt.Errorf("storing events: %w", err)
	}
	if !errors.Is(readErr, io.EOF) {
		return count, fmt.Errorf("reading after line %d: %w", d.line, readErr)
	}
	return count, nil
}

// Pack packs the partitions of events if an import has added many: rows that came out of the order of their contacts and
// of time take more room than they need.
func (i Imported) Pack(ctx context.Context, pool *pgxpool.Pool) error {
	if i.Added < packAfter {
		return nil
	}
	return postgres.Pack(ctx, pool)
}

type decoder struct {
	r      *bufio.Reader
	broken func(int64, error)
	count  *Imported
	line   int64
	bytes  int64
	ahead  *presence.Event // read, but left for the next chunk
}

// chunk reads about chunkEvents events. It never ends between two with the same receivedAt, since their order counts.
func (d *decoder) chunk() ([]presence.Event, error) {
	events := make([]presence.Event, 0, chunkEvents+1)
	if d.ahead != nil {
		events, d.ahead = append(events, *d.ahead), nil
	}
	for {
		e, err := d.next()
		if err != nil {
			return events, err
		}
		if n := len(events); n >= chunkEvents && !e.ReceivedAt.Equal(events[n-1].ReceivedAt) {
			d.ahead = &e
			return events, nil
		}
		events = append(events, e)
	}
}

// next returns the next event, or the error of reading.
func (d *decoder) next() (presence.Event, error) {
	for {
		line, err := d.r.ReadSlice('\n')
		d.bytes += int64(len(line))
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			var rest []byte
			rest, err = d.r.ReadSlice('\n')
			d.bytes += int64(len(rest))
		}
		if len(line) == 0 && err != nil {
			return presence.Event{}, err
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return presence.Event{}, err
		}
		d.line++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		e, err := decodeLine(line, tooLong)
		var ignored *gateway.IgnoredError
		switch {
		case err == nil:
			return e, nil
		case errors.As(err, &ignored):
			d.count.Ignored++
		default:
			d.count.Broken++
			d.broken(d.line, err)
		}
	}
}

func decodeLine(line []byte, tooLong bool) (presence.Event, error) {
	if tooLong {
		return presence.Event{}, fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	return gateway.DecodeRecord(line)
}
