// Package ingest makes events durable: Store writes a batch to PostgreSQL exactly once, Writer collects events of concurrent
// requests in batches, and Drain moves events from the spool to PostgreSQL.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// lateInterval is how long batches after a late one are expected to be late too, for example after a clock was set back.
const lateInterval = time.Second

const partitionTries = 3

// Keep returns those of the events that may be stored, which are not of erased contacts. It does not change its argument.
type Keep func(context.Context, []presence.Event) ([]presence.Event, error)

// Store writes events. Only one goroutine may use it, since it reuses its arrays.
type Store struct {
	Keep Keep // nil: all events are stored

	lockWait  time.Duration // for contacts with late events, which a rebuild may lock for minutes; 0: no limit
	pool      *pgxpool.Pool
	contacts  *contactIDs
	keptIn    int64  // identity of the database when Keep was called
	found     lookup // of the current batch
	rows      db.InsertEventsParams
	lateFor   time.Duration
	lateUntil time.Time
}

// NewStore returns a Store that writes through pool.
func NewStore(pool *pgxpool.Pool) *Store { return newStore(pool, newContactIDs(pool)) }

func newStore(pool *pgxpool.Pool, contacts *contactIDs) *Store {
	return &Store{pool: pool, contacts: contacts, lateFor: lateInterval}
}

// outcome is the result of inserting a batch.
type outcome int

const (
	inserted  outcome = iota // all of it
	late                     // nothing: an event is at or before the cutoff
	keyExists                // nothing: a key exists, because of a retry or another writer
)

// Write stores events with their ReceivedAt and Seq, in one transaction. If it is unknown whether they were committed, call it
// again with the same events: duplicates are skipped.
func (s *Store) Write(ctx context.Context, events []presence.Event) error {
	return s.keeping(ctx, events, func(events []presence.Event) error { return s.write(ctx, events) })
}

// keeping calls write with the events that may be stored, and again if a contact was erased meanwhile: that changes the identity
// of the database.
func (s *Store) keeping(ctx context.Context, events []presence.Event, write func([]presence.Event) error) (err error) {
	for range lookupTries {
		if s.Keep != nil {
			if s.keptIn, err = db.New(s.pool).DatabaseIdentity(ctx); err != nil {
				return err
			}
			if events, err = s.Keep(ctx, events); err != nil {
				return err
			}
			s.contacts.expect(s.keptIn)
		}
		if len(events) == 0 {
			return nil
		}
		if err = write(events); s.Keep == nil || !errors.Is(err, errOtherDatabase) {
			return err
		}
	}
	return err
}

func (s *Store) write(ctx context.Context, events []presence.Event) error {
	return s.withPartitions(ctx, events, func() error {
		outcome := late
		if time.Now().After(s.lateUntil) {
			var err error
			if outcome, err = s.insert(ctx, events); err != nil {
				return err
			}
		}
		switch outcome {
		case inserted:
			return nil
		case late:
			s.lateUntil = time.Now().Add(s.lateFor)
		}
		stored, err := s.insertMissing(ctx, events)
		if err != nil || stored {
			return err
		}
		// A key belongs to another event, so assign new ones. The caller's events keep theirs, since it may write them again.
		ordered, err := AssignSequence(slices.Clone(events))
		if err != nil {
			return err
		}
		_, err = s.merge(ctx, ordered)
		return err
	})
}

// insert writes all of the events, in one round trip, or none of them.
func (s *Store) insert(ctx context.Context, events []presence.Event) (o outcome, err error) {
	err = s.withContacts(ctx, contactsOf(events), func() (same bool, err error) {
		s.fill(events, s.found.ids)
		switch row, err := db.New(s.pool).InsertEvents(ctx, s.rows); {
		case postgres.ErrorCode(err) == pgerrcode.UniqueViolation:
			o = keyExists
		case err != nil:
			return false, err
		case !row.SameDatabase:
			return false, nil
		case !row.InTime:
			o = late
		}
		return true, nil
	})
	return o, err
}

// insertMissing writes the events whose keys do not exist, in one round trip. It returns false if a key belongs to another
// event.
func (s *Store) insertMissing(ctx context.Context, events []presence.Event) (stored bool, err error) {
	err = s.withContacts(ctx, contactsOf(events), func() (same bool, err error) {
		s.fill(events, s.found.ids)
		r := s.rows
		p := &pipeline{}
		q := db.New(p)
		if s.lockWait > 0 {
			_ = q.LimitLockWait(ctx, s.lockWait.String())
		}
		first := p.Len()
		_, _ = q.InsertMissingEvents(ctx, db.InsertMissingEventsParams{
			ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts, Seqs: r.Seqs, Statuses: r.Statuses,
			LastSeens: r.LastSeens, Extras: r.Extras, Database: r.Database,
		})
		_ = q.MarkLate(ctx, db.MarkLateParams{ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts})
		_, _ = q.CheckDatabase(ctx, r.Database)
		rows, err := p.send(ctx, s.pool)
		if err != nil || rows[first+2] == 0 {
			return false, err
		}
		if stored = rows[first] == int64(len(events)); stored {
			return true, nil
		}
		n, err := db.New(s.pool).CountStoredEvents(ctx, db.CountStoredEventsParams{
			ContactIds: r.ContactIds, ReceivedAts: r.ReceivedAts, Seqs: r.Seqs, Statuses: r.Statuses,
			LastSeens: r.LastSeens, Extras: r.Extras,
		})
		stored = n == int64(len(events))
		return true, err
	})
	return stored, err
}

// withContacts looks up the contacts and calls do. If do reports that the ids are from another database, for example after a
// failover, it looks them up again.
func (s *Store) withContacts(ctx context.Context, of iter.Seq[contact], do func() (same bool, err error)) error {
	for range lookupTries {
		if err := s.contacts.find(ctx, of, s.keptIn, &s.found); err != nil {
			return err
		}
		if same, err := do(); same || err != nil {
			return err
		}
		s.contacts.drop(s.found.database)
	}
	return errOtherDatabase
}

// inTx returns a function that calls do in a transaction, if the contact ids are from the same database.
func (s *Store) inTx(ctx context.Context, do func(*db.Queries) error) func() (same bool, err error) {
	return func() (same bool, err error) {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			q := db.New(tx)
			check := func() error {
				n, err := q.CheckDatabase(ctx, s.found.database)
				if err == nil && n == 0 {
					err = errOtherDatabase
				}
				return err
			}
			if err := check(); err != nil {
				return err
			}
			if err := do(q); err != nil {
				return err
			}
			return check() // an erasure waits only for transactions that have written
		})
		if errors.Is(err, errOtherDatabase) {
			return false, nil
		}
		return true, err
	}
}

// withPartitions calls do, and again after creating missing partitions. It may try once more: if another process has just
// committed a partition, a connection may not know it yet.
func (s *Store) withPartitions(ctx context.Context, events []presence.Event, do func() error) (err error) {
	for range partitionTries {
		if err = do(); postgres.ErrorCode(err) != pgerrcode.CheckViolation { // no partition for the row
			return err
		}
		times := make([]time.Time, len(events))
		for i, e := range events {
			times[i] = e.ReceivedAt
		}
		if err := postgres.MakePartitions(ctx, s.pool, times...); err != nil {
			return fmt.Errorf("creating partitions of events: %w", err)
		}
	}
	return err
}

// contactsOf yields the contact of each event.
func contactsOf(events []presence.Event) iter.Seq[contact] {
	return func(yield func(contact) bool) {
		for i := range events {
			if !yield(contact{events[i].InstanceID, events[i].Phone}) {
				return
			}
		}
	}
}

// fill sets s.rows from events and the ids of their contacts.
func (s *Store) fill(events []presence.Event, ids []int32) {
	r := &s.rows
	r.Database, r.ContactIds = s.found.database, ids
	r.ReceivedAts, r.Seqs, r.Statuses = r.ReceivedAts[:0], r.Seqs[:0], r.Statuses[:0]
	r.LastSeens, r.Extras = r.LastSeens[:0], r.Extras[:0]
	oldest := events[0].ReceivedAt
	for i := range events {
		e := &events[i]
		oldest = presence.Earlier(oldest, e.ReceivedAt)
		lastSeen := ""
		if e.LastSeen != nil {
			lastSeen = strconv.FormatInt(*e.LastSeen, 10)
		}
		r.ReceivedAts = append(r.ReceivedAts, postgres.Time(e.ReceivedAt))
		r.Seqs = append(r.Seqs, e.Seq)
		r.Statuses = append(r.Statuses, int16(e.Status))
		r.LastSeens = append(r.LastSeens, lastSeen)
		r.Extras = append(r.Extras, string(e.Extra))
	}
	r.Oldest = postgres.Time(oldest)
}
