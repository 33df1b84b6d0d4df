// Package rejected lists, retries and deletes rejected payloads, which package ingest keeps.
package rejected

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
	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Entry is a payload without its content.
type Entry struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"receivedAt"`
	Gateway    string    `json:"gateway"`
	Reason     string    `json:"reason"`
	Bytes      int32     `json:"bytes"`
	Kept       bool      `json:"kept"` // whether the content is stored
}

var (
	ErrNotFound = errors.New("no rejected payload has this id")
	ErrNotKept  = errors.New("its content was not kept")
)

// List yields all rejected payloads, oldest first.
func List(ctx context.Context, conn db.DBTX) iter.Seq2[Entry, error] {
	const page = 1000
	return func(yield func(Entry, error) bool) {
		at, last := postgres.MinusInfinity, pgtype.UUID{Valid: true}
		for {
			rows, err := db.New(conn).ListRejected(ctx, db.ListRejectedParams{AfterReceivedAt: at, AfterID: last, MaxRows: page})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, r := range rows {
				if !yield(Entry{r.ID.Bytes, r.ReceivedAt.Time.UTC(), r.Gateway, r.Reason, r.Bytes, r.Kept}, nil) {
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

// Get returns a payload with its content.
func Get(ctx context.Context, conn db.DBTX, id uuid.UUID) (ingest.Rejected, error) {
	r, err := db.New(conn).GetRejected(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return ingest.Rejected{
		ID: id, ReceivedAt: r.ReceivedAt.Time.UTC(), Gateway: r.Gateway, Reason: r.Reason, Bytes: int(r.Bytes), Body: r.Body,
	}, err
}

// Drop deletes a payload.
func Drop(ctx context.Context, conn db.DBTX, id uuid.UUID) error {
	n, err := db.New(conn).DropRejected(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// Retry decodes a payload again. If it is valid now, Retry stores its event with the original time. The error says why it stays
// rejected. After an interruption, call Retry again.
func Retry(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) error {
	r, err := Get(ctx, pool, id)
	if err != nil {
		return err
	}
	if r.Body == nil {
		return ErrNotKept
	}
	e, err := gateway.DecodeZAPI(r.Body)
	_, ignored := errors.AsType[*gateway.IgnoredError](err)
	if err != nil && !ignored {
		return err
	}
	if !ignored {
		e.ReceivedAt = r.ReceivedAt
		store := ingest.NewStore(pool)
		store.Keep = erasure.NewList(pool).Keep
		if _, err := store.Merge(ctx, []presence.Event{e}); err != nil {
			return fmt.Errorf("storing the event: %w", err)
		}
	}
	return Drop(ctx, pool, id)
}
