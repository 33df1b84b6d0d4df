// Package ingest makes events durable: Store writes a batch of them to PostgreSQL exactly once, Writer gathers what
// concurrent requests bring into batches. It does not know where events come from.
package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// maxKnown bounds the contacts whose numbers a Store remembers: about 40 MB.
const maxKnown = 300_000

type contact struct{ instanceID, phone string }

// Store writes events. It is for one goroutine: it keeps the numbers of the contacts it has seen, and its arrays.
type Store struct {
	pool  *pgxpool.Pool
	known map[contact]int32
	added map[int32]bool // the contacts that are new in the transaction under way
	conns int64          // how many connections the pool had made when known was begun
	rows  db.InsertEventsParams
}

// NewStore returns a Store that writes through pool.
func NewStore(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, known: map[contact]int32{}, rows: db.InsertEventsParams{NoLastSeen: presence.NoLastSeen}}
}

// Write stores events whose ReceivedAt and Seq were given them once and for all, in one transaction. It may be called
// again with the same events when it is not known whether they were committed: what is stored is left alone.
func (s *Store) Write(ctx context.Context, events []presence.Event) error {
	return s.withPartitions(ctx, events, func() error {
		written, err := s.insert(ctx, events)
		if err == nil && written == int64(len(events)) || err != nil && !isTaken(err) {
			return err
		}
		// Either they come late, or this is such a second call, or a key is taken by an event from elsewhere. Most likely it is
		// not the last, and then each event is to keep its key; Merge finds another one for those that are.
		err = s.withConn(ctx, func(conn *pgxpool.Conn) error {
			written, err = s.inTx(ctx, conn, contactsOf(events), func(q *db.Queries) (int64, error) {
				s.fill(events)
				r := s.rows
				written, err := q.InsertMissingEvents(ctx, db.InsertMissingEventsParams{
					ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts, Seqs: r.Seqs, Statuses: r.Statuses,
					LastSeens: r.LastSeens, NoLastSeen: r.NoLastSeen, Extras: r.Extras,
				})
				if err == nil && written > 0 {
					err = q.MarkStale(ctx, r.ContactIds, r.ReceivedAts)
				}
				return written, err
			})
			return err
		})
		if err != nil || written == int64(len(events)) {
			return err
		}
		arranged, err := Arrange(slices.Clone(events)) // which keep their keys, should this be tried again
		if err == nil {
			_, err = s.merge(ctx, arranged)
		}
		return err
	})
}

// insert is for events that come in time and are new: it writes all of them, or none if one comes late.
func (s *Store) insert(ctx context.Context, events []presence.Event) (written int64, err error) {
	err = s.withConn(ctx, func(conn *pgxpool.Conn) error {
		if s.allKnown(events) {
			s.fill(events)
			written, err = db.New(conn).InsertEvents(ctx, s.rows) // a transaction of its own, in one round trip
			return err
		}
		written, err = s.inTx(ctx, conn, contactsOf(events), func(q *db.Queries) (int64, error) {
			s.fill(events)
			return q.InsertEvents(ctx, s.rows)
		})
		return err
	})
	return written, err
}

// withConn forgets the contacts when a connection was made anew: it may lead to another server, a standby that took over
// without the last transactions, where their numbers stand for others or for nobody.
func (s *Store) withConn(ctx context.Context, do func(*pgxpool.Conn) error) error {
	return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if made := s.pool.Stat().NewConnsCount(); made != s.conns {
			clear(s.known)
			s.conns = made
		}
		return do(conn)
	})
}

// isTaken says of an error that a key is taken.
func isTaken(err error) bool {
	var failed *pgconn.PgError
	return errors.As(err, &failed) && failed.Code == "23505" // unique_violation
}

// Merge stores those events that are not stored yet, in one transaction, and returns how many that were. Events count as
// stored if they are alike in all but Seq, which Arrange gives them anew.
func (s *Store) Merge(ctx context.Context, events []presence.Event) (added int64, err error) {
	arranged, err := Arrange(events)
	if err != nil {
		return 0, err
	}
	return s.MergeArranged(ctx, arranged)
}

// Arranged is events that Merge can store.
type Arranged struct {
	Events []presence.Event
	ranges []contactRange
}

// contactRange is the time over which events are of a contact.
type contactRange struct {
	contact
	first, last time.Time
}

// MergeArranged is Merge for who arranges the next events meanwhile.
func (s *Store) MergeArranged(ctx context.Context, batch Arranged) (added int64, err error) {
	err = s.withPartitions(ctx, batch.Events, func() error {
		added, err = s.merge(ctx, batch)
		if isTaken(err) { // by a transaction that came in between
			added, err = s.merge(ctx, batch)
		}
		return err
	})
	return added, err
}

// Arrange gives events of one contact and ReceivedAt ascending Seqs, in the order in which they stand.
func Arrange(events []presence.Event) (Arranged, error) {
	places := make([]int32, len(events)) // sorted instead of the events, which are large, and go to the database as they came
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
	arranged := Arranged{Events: events}
	for i, place := range places {
		e := &events[place]
		e.Seq = 0
		if i > 0 && sameMoment(e, &events[places[i-1]]) {
			if e.Seq = events[places[i-1]].Seq + 1; e.Seq < 0 {
				return Arranged{}, fmt.Errorf("more than %d events of one contact at %s", math.MaxInt16, e.ReceivedAt)
			}
		}
		k := contact{e.InstanceID, e.Phone}
		if n := len(arranged.ranges); n > 0 && arranged.ranges[n-1].contact == k {
			arranged.ranges[n-1].last = e.ReceivedAt
		} else {
			arranged.ranges = append(arranged.ranges, contactRange{k, e.ReceivedAt, e.ReceivedAt})
		}
	}
	return arranged, nil
}

func sameMoment(a, b *presence.Event) bool {
	return a.ReceivedAt.Equal(b.ReceivedAt) && a.Phone == b.Phone && a.InstanceID == b.InstanceID
}

func (s *Store) merge(ctx context.Context, batch Arranged) (added int64, err error) {
	err = s.withConn(ctx, func(conn *pgxpool.Conn) error {
		added, err = s.inTx(ctx, conn, batch.contacts(), func(q *db.Queries) (added int64, err error) {
			if err := q.AvoidSeqScans(ctx); err != nil {
				return 0, err
			}
			// Most of what is merged is new altogether, and then a plain copy does, which is much faster.
			stored, err := s.anyStored(ctx, q, batch.ranges)
			switch {
			case err != nil:
				return 0, err
			case stored:
				s.fill(batch.Events)
				r := s.rows
				added, err = q.MergeEvents(ctx, db.MergeEventsParams{
					ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts, Statuses: r.Statuses,
					LastSeens: r.LastSeens, NoLastSeen: r.NoLastSeen, Extras: r.Extras,
				})
			default:
				added, err = q.CopyEvents(ctx, s.copies(batch.Events))
			}
			if err != nil || added == 0 {
				return added, err
			}
			ids, firsts, lasts := s.columns(batch.ranges)
			return added, q.MarkStale(ctx, slices.Concat(ids, ids), slices.Concat(firsts, lasts))
		})
		return err
	})
	return added, err
}

// withPartitions makes the partitions that do says are missing, and does it again.
func (s *Store) withPartitions(ctx context.Context, events []presence.Event, do func() error) error {
	err := do()
	var failed *pgconn.PgError
	if !errors.As(err, &failed) || failed.Code != "23514" { // check_violation: no partition for the row
		return err
	}
	moments := make([]time.Time, len(events))
	for i, e := range events {
		moments[i] = e.ReceivedAt
	}
	if err := postgres.MakePartitions(ctx, s.pool, moments...); err != nil {
		return fmt.Errorf("making the partitions of events: %w", err)
	}
	return do()
}

// contactsOf goes through whose events they are.
func contactsOf(events []presence.Event) iter.Seq[contact] {
	return func(yield func(contact) bool) {
		for i := range events {
			if !yield(contact{events[i].InstanceID, events[i].Phone}) {
				return
			}
		}
	}
}

// contacts does the same, once for each.
func (a Arranged) contacts() iter.Seq[contact] {
	return func(yield func(contact) bool) {
		for _, r := range a.ranges {
			if !yield(r.contact) {
				return
			}
		}
	}
}

// inTx adds the contacts that are new and writes, all in one transaction. A contact is remembered only once committed.
func (s *Store) inTx(
	ctx context.Context, conn *pgxpool.Conn, of iter.Seq[contact], write func(*db.Queries) (int64, error),
) (int64, error) {
	var n int64
	unknown := s.unknown(of)
	s.added = nil
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := s.addContacts(ctx, q, unknown); err != nil {
			return fmt.Errorf("adding contacts: %w", err)
		}
		var err error
		n, err = write(q)
		return err
	})
	if err != nil {
		for k := range unknown {
			delete(s.known, k)
		}
	}
	return n, err
}

func (s *Store) addContacts(ctx context.Context, q *db.Queries, unknown map[contact]bool) error {
	if len(unknown) == 0 {
		return nil
	}
	var instances, phones, names []string
	seen := map[string]bool{}
	for k := range unknown {
		instances, phones = append(instances, k.instanceID), append(phones, k.phone)
		if !seen[k.instanceID] {
			seen[k.instanceID], names = true, append(names, k.instanceID)
		}
	}
	find := func() error {
		rows, err := q.FindContacts(ctx, instances, phones)
		for _, r := range rows {
			s.known[contact{r.Instance, r.Phone}] = r.ID
		}
		return err
	}
	// Most are known to the database, though not to this process.
	before := len(s.known)
	if err := find(); err != nil || len(s.known)-before == len(unknown) {
		return err
	}
	if err := q.AddInstances(ctx, names); err != nil {
		return err
	}
	added, err := q.AddContacts(ctx, instances, phones)
	if err != nil {
		return err
	}
	s.added = make(map[int32]bool, len(added))
	for _, r := range added {
		s.known[contact{r.Instance, r.Phone}], s.added[r.ID] = r.ID, true
	}
	if len(s.known)-before == len(unknown) {
		return nil
	}
	return find() // others have added some meanwhile
}

func (s *Store) allKnown(events []presence.Event) bool {
	for k := range contactsOf(events) {
		if _, ok := s.known[k]; !ok {
			return false
		}
	}
	return true
}

// unknown returns the contacts whose numbers are to be asked for. It first forgets all, should they be too many.
func (s *Store) unknown(of iter.Seq[contact]) map[contact]bool {
	if len(s.known) > maxKnown {
		clear(s.known)
	}
	unknown := map[contact]bool{}
	for k := range of {
		if _, ok := s.known[k]; !ok {
			unknown[k] = true
		}
	}
	return unknown
}

// anyStored says whether a contact has an event in its range, as none has in most batches of an import.
func (s *Store) anyStored(ctx context.Context, q *db.Queries, ranges []contactRange) (bool, error) {
	old := slices.DeleteFunc(slices.Clone(ranges), func(r contactRange) bool { return s.added[s.known[r.contact]] })
	if len(old) == 0 {
		return false, nil
	}
	ids, firsts, lasts := s.columns(old)
	return q.AnyStored(ctx, ids, firsts, lasts)
}

// columns are ranges as arrays.
func (s *Store) columns(ranges []contactRange) (ids []int32, firsts, lasts []pgtype.Timestamptz) {
	for _, r := range ranges {
		ids = append(ids, s.known[r.contact])
		firsts, lasts = append(firsts, db.Time(r.first)), append(lasts, db.Time(r.last))
	}
	return ids, firsts, lasts
}

func (s *Store) copies(events []presence.Event) []db.CopyEventsParams {
	copies := make([]db.CopyEventsParams, len(events))
	for i := range events {
		e := &events[i]
		copies[i] = db.CopyEventsParams{
			ContactID: s.known[contact{e.InstanceID, e.Phone}], ReceivedAt: db.Time(e.ReceivedAt), Seq: e.Seq,
			Status: int16(e.Status), LastSeen: e.LastSeen, Extra: e.Extra,
		}
	}
	return copies
}

func (s *Store) fill(events []presence.Event) {
	r := &s.rows
	r.ContactIds, r.ReceivedAts, r.Seqs = r.ContactIds[:0], r.ReceivedAts[:0], r.Seqs[:0]
	r.Statuses, r.LastSeens, r.Extras = r.Statuses[:0], r.LastSeens[:0], r.Extras[:0]
	var oldest time.Time
	for i := range events {
		e := &events[i]
		if i == 0 || e.ReceivedAt.Before(oldest) {
			oldest = e.ReceivedAt
		}
		lastSeen := int64(presence.NoLastSeen)
		if e.LastSeen != nil {
			lastSeen = *e.LastSeen
		}
		r.ContactIds = append(r.ContactIds, s.known[contact{e.InstanceID, e.Phone}])
		r.ReceivedAts = append(r.ReceivedAts, pgtype.Timestamptz{Time: e.ReceivedAt, Valid: true})
		r.Seqs = append(r.Seqs, e.Seq)
		r.Statuses = append(r.Statuses, int16(e.Status))
		r.LastSeens = append(r.LastSeens, lastSeen)
		r.Extras = append(r.Extras, string(e.Extra))
	}
	r.Oldest = db.Time(oldest)
}
