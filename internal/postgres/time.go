package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Time makes the parameter of a moment.
func Time(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: true} }

// Infinity is later than every moment.
var Infinity = pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}

// MinusInfinity is earlier than every moment.
var MinusInfinity = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}

// TimeOrNil returns the moment in UTC, or nil for NULL.
func TimeOrNil(t pgtype.Timestamptz) *time.Time {
	if !t.Valid {
		return nil
	}
	return new(t.Time.UTC())
}
