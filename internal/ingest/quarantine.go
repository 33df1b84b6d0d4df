package ingest

import (
	"context"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
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
