package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/presence"
)

// Quarantine keeps what was refused, as durably as an event; an error means that it is not kept.
func (w *Writer) Quarantine(ctx context.Context, r Refused) error {
	if !w.away.Load() {
		tryCtx, cancel := context.WithTimeout(ctx, w.bound)
		err := addQuarantine(tryCtx, db.New(w.pool), r)
		cancel()
		if err == nil || w.spool == nil {
			return err
		}
		w.log.Warn("writing to the quarantine", "error", err)
	}
	b, err := json.Marshal(record{Refused: &r})
	if err != nil {
		return err
	}
	return w.spool.Append([][]byte{b})
}

func addQuarantine(ctx context.Context, q *db.Queries, r Refused) error {
	return q.AddQuarantine(ctx, db.AddQuarantineParams{
		ID: pgtype.UUID{Bytes: r.ID, Valid: true}, ReceivedAt: db.Time(r.ReceivedAt), Gateway: r.Gateway,
		Reason: strings.ReplaceAll(strings.ToValidUTF8(r.Reason, "\uFFFD"), "\x00", "\uFFFD"), Body: r.Body,
	})
}

// Quarantined is a line of the list of what was refused.
type Quarantined struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"receivedAt"`
	Gateway    string    `json:"gateway"`
	Reason     string    `json:"reason"`
	Bytes      int32     `json:"bytes"`
}

// ErrNotQuarantined says that there is no such callback in quarantine.
var ErrNotQuarantined = errors.New("there is no such callback in quarantine")

// ListQuarantine goes through all that was refused, oldest first.
func ListQuarantine(ctx context.Context, conn db.DBTX) iter.Seq2[Quarantined, error] {
	const page = 1000
	return func(yield func(Quarantined, error) bool) {
		at, last := pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, pgtype.UUID{Valid: true}
		for {
			rows, err := db.New(conn).ListQuarantine(ctx, at, last, page)
			if err != nil {
				yield(Quarantined{}, err)
				return
			}
			for _, r := range rows {
				if !yield(Quarantined{r.ID.Bytes, r.ReceivedAt.Time.UTC(), r.Gateway, r.Reason, r.Bytes}, nil) {
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

// GetQuarantine returns one callback with its body.
func GetQuarantine(ctx context.Context, conn db.DBTX, id uuid.UUID) (Refused, error) {
	r, err := db.New(conn).GetQuarantine(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotQuarantined
	}
	return Refused{ID: id, ReceivedAt: r.ReceivedAt.Time.UTC(), Gateway: r.Gateway, Reason: r.Reason, Body: r.Body}, err
}

// DropQuarantine deletes one callback.
func DropQuarantine(ctx context.Context, conn db.DBTX, id uuid.UUID) error {
	n, err := db.New(conn).DropQuarantine(ctx, pgtype.UUID{Bytes: id, Valid: true})
	if err == nil && n == 0 {
		err = ErrNotQuarantined
	}
	return err
}

// RetryQuarantine reads a callback again; if it is understood now, its event moves into history at the time it came. The
// error says why it stays. It may be called again when it broke off half way.
func RetryQuarantine(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) error {
	r, err := GetQuarantine(ctx, pool, id)
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
		if _, err := NewStore(pool).Merge(ctx, []presence.Event{e}); err != nil {
			return fmt.Errorf("storing it: %w", err)
		}
	}
	return DropQuarantine(ctx, pool, id)
}
