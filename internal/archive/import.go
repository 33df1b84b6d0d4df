// Package archive imports and exports history as NDJSON: each line is an event, its body as the gateway sent it with receivedAt
// added. It also exports events and intervals as Parquet.
package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	chunkEvents  = 50_000  // enough to store events of a contact together on disk
	maxLine      = 1 << 20 // bytes
	reindexAfter = 100_000 // events added

	// maxAhead is how far in the future an event may be, since the receiver's clock may have been ahead. A later event would
	// remain the contact's last one until that time.
	maxAhead = 5 * time.Minute
)

// Imported counts the lines of an import by their result.
type Imported struct {
	Added      int64 // new events
	Duplicates int64 // events that were stored before
	Ignored    int64 // callbacks of types that are ignored
	Invalid    int64 // lines that are no event
	Erased     int64 // events of contacts that were erased later, or are blocked
}

// Text returns r without the byte order mark that some Windows programs write. If r is not UTF-8, it returns one error instead
// of one for each line.
func Text(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	start, _ := text.Peek(3) // reading returns the error again
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err := text.Discard(3)
		return text, err
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, errors.New("the input is UTF-16; it must be UTF-8")
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return nil, errors.New("the input is compressed; decompress it first, for example: gunzip -c FILE | presencelog import")
	}
	return text, nil
}

// Import stores the events of an NDJSON stream. It skips invalid lines, and calls invalid with their number, from 1, and the
// reason. Events stored before an error stay stored; importing the same stream again skips them as duplicates. progress, if
// not nil, is called with the number of bytes read so far.
func Import(
	ctx context.Context, pool *pgxpool.Pool, r io.Reader, invalid func(line int64, reason error), progress func(int64),
) (Imported, error) {
	var count Imported
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// One goroutine reads and orders the next chunk while the other stores the last one.
	chunks := make(chan ingest.Ordered)
	stored := make(chan error, 1)
	go func() {
		list := erasure.NewList(pool)
		store := ingest.NewStore(pool)
		store.Keep = func(ctx context.Context, events []presence.Event) ([]presence.Event, error) {
			kept, err := list.Keep(ctx, events)
			count.Erased += int64(len(events) - len(kept))
			return kept, err
		}
		var read int64
		var err error
		for chunk := range chunks {
			var added int64
			if added, err = store.MergeOrdered(ctx, chunk); err != nil {
				cancel(err)
				break
			}
			read += int64(len(chunk.Events))
			count.Added += added
			count.Duplicates = read - count.Added - count.Erased
		}
		stored <- err
	}()

	d := decoder{r: bufio.NewReaderSize(r, maxLine), invalid: invalid, count: &count}
	var readErr error
	for readErr == nil {
		var chunk []presence.Event
		chunk, readErr = d.chunk()
		if len(chunk) > 0 {
			ordered, err := ingest.AssignSequence(chunk)
			if err != nil {
				readErr = err
				break
			}
			select {
			case chunks <- ordered:
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

// Reindex rebuilds the keys of the partitions after a large import: rows that are not ordered by contact and time take more space.
func (i Imported) Reindex(ctx context.Context, pool *pgxpool.Pool) error {
	if i.Added < reindexAfter {
		return nil
	}
	return postgres.Reindex(ctx, pool)
}

type decoder struct {
	r       *bufio.Reader
	invalid func(int64, error)
	count   *Imported
	line    int64
	bytes   int64
	ahead   *presence.Event // read, but part of the next chunk
}

// chunk reads about chunkEvents events. Events with the same receivedAt stay in one chunk, since their order matters.
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
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return presence.Event{}, err
		}
		d.line++
		line = bytes.TrimSpace(line)
		if len(line) == 0 && !tooLong { // reading the rest of a longer line overwrites its start
			continue
		}
		e, err := decodeLine(line, tooLong)
		if latest := presence.Now().Add(maxAhead); err == nil && e.ReceivedAt.After(latest) {
			err = &gateway.FieldError{Field: "receivedAt", Reason: fmt.Sprintf("is %s, in the future; it must be %s at the latest",
				e.ReceivedAt.Format(time.RFC3339Nano), latest.Format(time.RFC3339))}
		}
		_, ignored := errors.AsType[*gateway.IgnoredError](err)
		switch {
		case err == nil:
			return e, nil
		case ignored:
			d.count.Ignored++
		default:
			d.count.Invalid++
			d.invalid(d.line, err)
		}
	}
}

func decodeLine(line []byte, tooLong bool) (presence.Event, error) {
	if tooLong {
		return presence.Event{}, fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	e, err := gateway.DecodeRecord(line)
	if err == nil && isPseudonym(e.Phone) {
		err = &gateway.FieldError{Field: "phone", Reason: "is a pseudonym; an export with pseudonyms cannot be imported"}
	}
	return e, err
}
