package archive

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// Selection is the events to export: by default all.
type Selection struct {
	InstanceID string        // "" selects all instances
	Range      history.Range // a zero From or To means no limit on that side
	Pseudonyms bool          // instead of phones; and no unknown fields, which may have names in them
}

// Export writes the selected events as NDJSON and returns their number. They are ordered by contact, then by arrival, and read
// from one snapshot. With pseudonyms they are ordered by arrival only, since contacts are ordered by phone. progress, if not
// nil, is called with the number of events written so far.
func Export(
	ctx context.Context, pool *pgxpool.Pool, w io.Writer, what Selection, progress func(int64),
) (written int64, err error) {
	if what.Range.To.IsZero() {
		what.Range.To = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		var line []byte
		events := history.NewReader(tx.Conn(), time.Now).AllEvents(ctx, what.InstanceID, what.Range)
		if what.Pseudonyms {
			events = pseudonymous(ctx, tx, what)
		}
		for e, err := range events {
			if err != nil {
				return err
			}
			line = gateway.AppendRecord(line[:0], e)
			if _, err := out.Write(line); err != nil {
				return err
			}
			if written++; progress != nil {
				progress(written)
			}
		}
		return out.Flush()
	})
	return written, err
}

// pseudonymous returns the selected events with pseudonyms, ordered by arrival.
func pseudonymous(ctx context.Context, tx pgx.Tx, what Selection) iter.Seq2[presence.Event, error] {
	return func(yield func(presence.Event, error) bool) {
		names, err := newPseudonyms(ctx, tx)
		if err == nil {
			err = what.eachMonth(ctx, tx, func(_ time.Time, in history.Range) error {
				rows, err := tx.Query(ctx, selectEvents, in.From, in.To, what.InstanceID)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					e, err := scanEvent(rows)
					e.Phone, e.Extra = names.of(e.Phone), nil
					if !yield(e, err) || err != nil {
						return errStopped
					}
				}
				return rows.Err()
			})
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(presence.Event{}, err)
		}
	}
}

var errStopped = errors.New("stopped")
