package ingest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Ordered has events with their sequence, see AssignSequence.
type Ordered struct {
	Events []presence.Event
	ranges []contactRange
	of     []int32 // the index of each event's range
}

// contactRange is the time range of a contact's events.
type contactRange struct {
	contact
	first, last time.Time
}

// AssignSequence assigns ascending Seqs to events with the same contact and ReceivedAt, in their order.
func AssignSequence(events []presence.Event) (Ordered, error) {
	places := make([]int32, len(events)) // sorted instead of the events, which are large and keep their order
	for i := range places {
		places[i] = int32(i)
	}
	slices.SortFunc(places, func(a, b int32) int {
		x, y := &events[a], &events[b]
		if c := strings.Compare(x.Phone, y.Phone); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(x.InstanceID, y.InstanceID), x.ReceivedAt.Compare(y.ReceivedAt), cmp.Compare(a, b))
	})
	ordered := Ordered{Events: events, of: make([]int32, len(events))}
	for i, place := range places {
		e := &events[place]
		e.Seq = 0
		k := contact{e.InstanceID, e.Phone}
		last := len(ordered.ranges) - 1
		if last < 0 || ordered.ranges[last].contact != k {
			ordered.ranges = append(ordered.ranges, contactRange{k, e.ReceivedAt, e.ReceivedAt})
			last++
		} else if before := &events[places[i-1]]; before.ReceivedAt.Equal(e.ReceivedAt) {
			if e.Seq = before.Seq + 1; e.Seq < 0 {
				return Ordered{}, fmt.Errorf("more than %d events of one contact at %s", math.MaxInt16, e.ReceivedAt)
			}
		}
		ordered.ranges[last].last = e.ReceivedAt
		ordered.of[place] = int32(last)
	}
	return ordered, nil
}

// Merge stores events in one transaction, skips duplicates, and returns how many it stored. Events are duplicates if they
// differ at most in Seq, which Merge assigns.
func (s *Store) Merge(ctx context.Context, events []presence.Event) (added int64, err error) {
	ordered, err := AssignSequence(events)
	if err != nil {
		return 0, err
	}
	return s.MergeOrdered(ctx, ordered)
}

// MergeOrdered is Merge for events that have their sequence. The caller can order the next events concurrently.
func (s *Store) MergeOrdered(ctx context.Context, batch Ordered) (added int64, err error) {
	err = s.keeping(ctx, batch.Events, func(events []presence.Event) error {
		if len(events) < len(batch.Events) {
			if batch, err = AssignSequence(events); err != nil {
				return err
			}
		}
		return s.withPartitions(ctx, events, func() error {
			added, err = s.merge(ctx, batch)
			return err
		})
	})
	return added, err
}

func (s *Store) merge(ctx context.Context, batch Ordered) (added int64, err error) {
	added, err = s.tryMerge(ctx, batch)
	if postgres.ErrorCode(err) == pgerrcode.UniqueViolation { // another writer was first
		added, err = s.tryMerge(ctx, batch)
	}
	return added, err
}

func (s *Store) tryMerge(ctx context.Context, batch Ordered) (added int64, err error) {
	err = s.withContacts(ctx, batch.contacts(), s.inTx(ctx, func(q *db.Queries) error {
		if err := q.AvoidSeqScans(ctx); err != nil {
			return err
		}
		ids, firsts, lasts := columns(batch.ranges, s.found.ids, nil)
		// Most batches are completely new. Then a plain copy is enough, and much faster.
		stored, err := s.anyStored(ctx, q, batch.ranges)
		switch {
		case err != nil:
			return err
		case stored:
			added, err = q.MergeEvents(ctx, s.mergeParams(batch))
		default:
			added, err = q.CopyEvents(ctx, copies(batch, s.found.ids))
		}
		if err != nil || added == 0 {
			return err
		}
		return q.MarkLate(ctx, db.MarkLateParams{ContactIds: slices.Concat(ids, ids), ReceivedAts: slices.Concat(firsts, lasts)})
	}))
	return added, err
}

// contacts yields each contact once.
func (o Ordered) contacts() iter.Seq[contact] {
	return func(yield func(contact) bool) {
		for _, r := range o.ranges {
			if !yield(r.contact) {
				return
			}
		}
	}
}

// anyStored reports whether a contact has an event in its range. In most batches of an import, none has. It skips contacts that
// this batch has added. If another writer stores events concurrently, both assign Seq 0 first, so that the keys conflict.
func (s *Store) anyStored(ctx context.Context, q *db.Queries, ranges []contactRange) (bool, error) {
	ids, firsts, lasts := columns(ranges, s.found.ids, s.found.added)
	if len(ids) == 0 {
		return false, nil
	}
	return q.AnyStored(ctx, db.AnyStoredParams{ContactIds: ids, FirstAts: firsts, LastAts: lasts})
}

// columns returns ranges as arrays, without those of some contacts.
func columns(
	ranges []contactRange, all []int32, without map[contact]bool,
) (ids []int32, firsts, lasts []pgtype.Timestamptz) {
	for i, r := range ranges {
		if !without[r.contact] {
			ids = append(ids, all[i])
			firsts, lasts = append(firsts, postgres.Time(r.first)), append(lasts, postgres.Time(r.last))
		}
	}
	return ids, firsts, lasts
}

func (s *Store) mergeParams(batch Ordered) db.MergeEventsParams {
	ids := make([]int32, len(batch.Events))
	for i, of := range batch.of {
		ids[i] = s.found.ids[of]
	}
	s.fill(batch.Events, ids)
	r := s.rows
	return db.MergeEventsParams{
		ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts, Statuses: r.Statuses, LastSeens: r.LastSeens, Extras: r.Extras,
	}
}

func copies(batch Ordered, ids []int32) []db.CopyEventsParams {
	copies := make([]db.CopyEventsParams, len(batch.Events))
	for i := range batch.Events {
		e := &batch.Events[i]
		copies[i] = db.CopyEventsParams{
			ContactID: ids[batch.of[i]], ReceivedAt: postgres.Time(e.ReceivedAt), Seq: e.Seq,
			Status: int16(e.Status), LastSeen: e.LastSeen, Extra: e.Extra,
		}
	}
	return copies
}
