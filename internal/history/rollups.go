package history

import (
	"context"
	"encoding/binary"
	"iter"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// slot is the unit of time of rollups. All calendars cut at its bounds.
const slot = 15 * time.Minute

const partBytes = 20

// stretch is a typing or recording span or a visit, whole; in microseconds since 1970.
type stretch struct {
	contact                      int32
	measure                      presence.Measure
	start, until, confirmedUntil int64 // the confirmed part begins at the start: only events start stretches
	ended                        bool
}

func stretchOf(row db.InstanceStretchesRow) stretch {
	return stretch{
		contact: row.ContactID, measure: presence.Measure(row.Measure), start: row.StartedAt.Time.UnixMicro(),
		until: row.Until.Time.UnixMicro(), confirmedUntil: row.ConfirmedUntil.Time.UnixMicro(), ended: row.EndedAt.Valid,
	}
}

// part is what lies of a stretch in a slot; in microseconds. length is that of the whole stretch if it starts there, else 0.
type part struct {
	contact                   int32
	inside, confirmed, length int64
}

// partsOf reads rollups.parts.
func partsOf(parts []byte) iter.Seq[part] {
	return func(yield func(part) bool) {
		for ; len(parts) >= partBytes; parts = parts[partBytes:] {
			p := part{
				contact: int32(binary.BigEndian.Uint32(parts)), inside: int64(binary.BigEndian.Uint32(parts[4:])),
				confirmed: int64(binary.BigEndian.Uint32(parts[8:])), length: int64(binary.BigEndian.Uint64(parts[12:])),
			}
			if !yield(p) {
				return
			}
		}
	}
}

// instanceParts goes through what makes up the stretches of all contacts of an instance within a range: rolled is called
// for the whole slots within it and reads their rollups, add with each stretch, or part of it, that they lack.
func (r *Reader) instanceParts(
	ctx context.Context, instanceID string, in Range,
	add func(s stretch, within Range), rolled func(q *db.Queries, instance int32, slots Range) error,
) error {
	id, err := r.instance(ctx, instanceID)
	if err != nil {
		return err
	}
	// What is rolled up and what is not must be seen at one moment.
	return pgx.BeginTxFunc(ctx, r.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		p := parts{Reader: r.on(tx), ctx: ctx, instance: id, add: add}
		slots := Range{in.From.Add(slot - 1).Truncate(slot), in.To.Truncate(slot)}
		if !slots.From.Before(slots.To) {
			return p.overlapping(in, in, always)
		}
		// Whatever the cut-off ends of the range hold is read from the events.
		for _, edge := range []Range{{in.From, slots.From}, {slots.To, in.To}} {
			if err := p.overlapping(edge, edge, always); err != nil {
				return err
			}
		}
		if err := rolled(p.q, id, slots); err != nil {
			return err
		}
		return p.notRolledUp(slots)
	})
}

// parts reads the stretches of one instance.
type parts struct {
	*Reader
	ctx      context.Context
	instance int32
	add      func(stretch, Range)
}

func always(stretch) bool { return true }

// overlapping adds what lies within a range of those stretches that overlap another one.
func (p *parts) overlapping(in, within Range, wanted func(stretch) bool) error {
	if !in.From.Before(in.To) {
		return nil
	}
	rows, err := p.q.InstanceStretches(p.ctx, p.instance, db.Time(in.From), db.Time(in.To), db.Time(p.now()))
	for _, row := range rows {
		if s := stretchOf(row); wanted(s) {
			p.add(s, within)
		}
	}
	return err
}

// notRolledUp adds the stretches in these slots that their rollups lack: those that ended where the rollups are not
// current, and those that still run.
func (p *parts) notRolledUp(slots Range) error {
	rows, err := p.q.NotRolledUp(p.ctx, p.instance, db.Time(slots.From))
	if err != nil {
		return err
	}
	var holes []span // (from, to]
	for _, row := range rows {
		hole := span{row.FromSlot.Time.UnixMicro(), math.MaxInt64}
		if row.UntilSlot.InfinityModifier == pgtype.Finite {
			hole.to = row.UntilSlot.Time.UnixMicro()
		}
		holes = append(holes, hole)
	}
	endsInHole := func(s stretch) bool {
		for _, hole := range holes {
			if s.until > hole.from && s.until <= hole.to || !s.ended && hole.to == math.MaxInt64 {
				return true
			}
		}
		return false
	}
	end := slots.To.UnixMicro()
	for _, hole := range holes {
		if hole.from >= end {
			break
		}
		// Those that end in the hole up to the last slot's end …
		ended := span{hole.from, min(hole.to, end)}
		around := Range{time.UnixMicro(ended.from).UTC(), time.UnixMicro(ended.to + 1).UTC()}
		err := p.overlapping(around, slots, func(s stretch) bool {
			return s.ended && s.until > ended.from && s.until <= ended.to
		})
		if err != nil {
			return err
		}
	}
	// … and those that go on after it. What has not come yet nobody is heard in.
	at := slots.To.Add(-time.Microsecond)
	if now := p.now(); now.Before(at) {
		at = now
	}
	last := Range{at, at.Add(time.Microsecond)}
	return p.overlapping(last, slots, func(s stretch) bool { return (!s.ended || s.until > end) && endsInHole(s) })
}
