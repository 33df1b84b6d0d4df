// Package quarantine looks at what known senders sent and nobody understood, and tries it again. How callbacks get there is
// the business of ingest.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/presence"
)

// Entry is a line of the list of what was refused.
type Entry struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"receivedAt"`
	Gateway    string    `json:"gateway"`
	Reason     string    `json:"reason"`
	Bytes      int32     `json:"bytes"`
}

// ErrNotFound says that there is no such callback in quarantine.
var ErrNotFound = errors.New("there is no such callback in quarantine")

// List goes through all that was refused, oldest first.
func List(ctx context.Context, conn db.DBTX) iter.Seq2[Entry, error] {
	const page = 1000
	return func(yield func(Entry, error) bool) {
		at, last := pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, pgtype.UUID{Valid: true}
		for {
			rows, err := db.New(conn).ListQuarantine(ctx, at, last, page)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, r := range rows {
				if !yield(Entry{r.ID.Bytes, r.ReceivedAt.Time.UTC(), r.Gateway, r.Reason, r.Bytes}, nil) {
					return
				}
				at, last = r.ReceivedAt, r.ID
			}
			if len(rows) < page {
				return
			}
		}
	}
}

// Get returns one callback with its body.
func Get(ctx context.Context, conn db.DBTX, id uuid.UUID) (ingest.Refused, error) {
	r, err := db.New(conn).GetQuarantine(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return ingest.Refused{ID: id, ReceivedAt: r.ReceivedAt.Time.UTC(), Gateway: r.Gateway, Reason: r.Reason, Body: r.Body}, err
}

// Drop deletes one callback.
func Drop(ctx context.Context, conn db.DBTX, id uuid.UUID) error {
	n, err := db.New(conn).DropQuarantine(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// Retry reads a callback again; if it is understood now, its event moves into history at the time it came. The
// error says why it stays. It may be called again when it broke off half way.
func Retry(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) error {
	r, err := Get(ctx, pool, id)
	if err != nil {
		return err
	}
	e, err := gateway.DecodeZAPI(r.Body)
	var ignored *gateway.IgnoredError
	if err != nil && !errors.As(err, &ignored) {
		return err
	}
	if ignored == nil {
		e.ReceivedAt = r.ReceivedAt
		if _, err := ingest.NewStore(pool).Merge(ctx, []presence.Event{e}); err != nil {
			return fmt.Errorf("storing it: %w", err)
		}
	}
	return Drop(ctx, pool, id)
}
