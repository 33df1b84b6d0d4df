package archive

import (
	"bufio"
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/history"
)

// Selection says what to export: all events, or those of one instance, or of a range.
type Selection struct {
	InstanceID string        // "" is every instance
	Range      history.Range // a zero From or To leaves that side open
}

// Export writes the selected events as NDJSON, contact after contact, each one's in their order of arrival, as they were
// at one moment, and returns how many. progress, if not nil, is called with the events written so far.
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
		for e, err := range history.NewReader(tx.Conn(), time.Now).AllEvents(ctx, what.InstanceID, what.Range) {
			if err != nil {
				return err
			}
			line = gateway.AppendRecord(line[:0], e)
			if _, err := out.Write(line); err != nil {
				return err
			}
			if written++; progress != nil && written%1000 == 0 {
				progress(written)
			}
		}
		if progress != nil {
			progress(written)
		}
		return out.Flush()
	})
	return written, err
}
