package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// setCutoff makes events up to at late.
func setCutoff(t testing.TB, pool *pgxpool.Pool, at time.Time) {
	t.Helper()
	pgtest.Exec(t, pool, "UPDATE interval_progress SET cutoff = $1", at)
}

// SetCutoff makes events up to at late.
var SetCutoff = setCutoff

// QueuedRejected returns how many payloads gather for the next batch.
func (w *Writer) QueuedRejected() int { return w.rejected.group.queued() }

// CachedContacts returns how many contact ids are cached.
func (w *Writer) CachedContacts() int { return w.store.CachedContacts() }

// CachedContacts returns how many contact ids are cached.
func (s *Store) CachedContacts() int {
	s.contacts.mu.RLock()
	defer s.contacts.mu.RUnlock()
	return len(s.contacts.ids)
}

// ExpectLate changes how long batches that follow a late one are expected to be late too.
func (s *Store) ExpectLate(d time.Duration) { s.lateFor = d }

// LimitCache limits how many contact ids are cached.
func (s *Store) LimitCache(max int) { s.contacts.max = max }

// InTx calls do in a transaction like that of Merge, if the contact ids of the last batch are from the same database.
func (s *Store) InTx(ctx context.Context, do func() error) (same bool, err error) {
	return s.inTx(ctx, func(*db.Queries) error { return do() })()
}
