package ingest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/spool"
)

const (
	maxBatchRejected = 500
	maxRejectedBytes = 1 << 20 // of a batch
	trimInterval     = time.Hour
)

// Rejected is an invalid payload of an authorized sender. It is kept for inspection and retry.
type Rejected struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"at"`
	Gateway    string    `json:"gateway"`
	Reason     string    `json:"reason"`
	Bytes      int       `json:"bytes"`         // length of the payload
	Body       []byte    `json:"body,omitzero"` // nil if it is not kept
}

// Rejection configures how rejected payloads are kept.
type Rejection struct {
	Spool    *spool.Spool  // separate, so that they take no space from events; nil: none
	MaxBytes int64         // in the database; the oldest are deleted; 0: no limit
	Keep     time.Duration // how long; 0: forever
}

// rejectedStore keeps rejected payloads. It writes one batch after another over one connection. After each it rests as long as
// the batch took, so that many of them hardly slow down events.
type rejectedStore struct {
	Rejection
	w     *Writer
	group *group[Rejected, error]

	restUntil time.Time // used by persist only

	mu    sync.Mutex
	bytes int64 // in the database; an estimate, since other processes may add some
}

// Reject stores a rejected payload as durably as an event. An error means that it is not stored.
func (w *Writer) Reject(ctx context.Context, r Rejected) error {
	result, err := w.rejected.group.do(ctx, r, len(r.Body))
	if err != nil {
		return err
	}
	return result
}

// persist makes a batch durable: in the database, or in the spool.
func (s *rejectedStore) persist(batch []Rejected) error {
	time.Sleep(time.Until(s.restUntil))
	start := time.Now()
	defer func() { s.restUntil = time.Now().Add(time.Since(start)) }()
	if !s.w.spoolOnly() {
		ctx, cancel := context.WithTimeout(context.Background(), s.w.config.Timeout)
		defer cancel()
		err := s.add(ctx, batch)
		if err == nil || s.Spool == nil {
			return err
		}
		s.w.config.Log.Warn("the database did not accept rejected payloads", "error", err)
	}
	if s.Spool == nil {
		return ErrUnavailable
	}
	records := make([][]byte, len(batch))
	for i := range batch {
		var err error
		if records[i], err = json.Marshal(record{Rejected: &batch[i]}); err != nil {
			return err
		}
	}
	return s.Spool.Append(records)
}

// add writes payloads to the database. It may be called again with the same ones.
func (s *rejectedStore) add(ctx context.Context, batch []Rejected) error {
	var arg db.AddRejectedParams
	var bytes int64
	for _, r := range batch {
		arg.Ids = append(arg.Ids, pgtype.UUID{Bytes: r.ID, Valid: true})
		arg.ReceivedAts = append(arg.ReceivedAts, postgres.Time(r.ReceivedAt))
		arg.Gateways = append(arg.Gateways, r.Gateway)
		arg.Reasons = append(arg.Reasons, strings.ReplaceAll(strings.ToValidUTF8(r.Reason, "\uFFFD"), "\x00", "\uFFFD"))
		arg.Bytes = append(arg.Bytes, int32(r.Bytes))
		arg.Bodies = append(arg.Bodies, r.Body)
		bytes += int64(200 + len(r.Reason) + len(r.Body)) // as RejectedBytes counts
	}
	if err := db.New(s.w.config.Pool).AddRejected(ctx, arg); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes += bytes; s.MaxBytes > 0 && s.bytes > s.MaxBytes {
		_ = s.trim(ctx) // if it fails, the next batch tries again
	}
	return nil
}

// trim deletes payloads that are too old, and the oldest if there are too many. The caller holds mu.
func (s *rejectedStore) trim(ctx context.Context) error {
	q := db.New(s.w.config.Pool)
	dropped := int64(0)
	if s.Keep > 0 {
		n, err := q.DropRejectedBefore(ctx, postgres.Time(time.Now().Add(-s.Keep)))
		if err != nil {
			return err
		}
		dropped += n
	}
	if s.MaxBytes > 0 {
		var err error
		if s.bytes, err = q.RejectedBytes(ctx); err != nil {
			return err
		}
		if s.bytes > s.MaxBytes {
			n, err := q.TrimRejected(ctx, s.MaxBytes/10*9) // delete more, so that not every batch has to
			if err != nil {
				return err
			}
			dropped += n
			s.bytes = s.MaxBytes / 10 * 9
		}
	}
	if dropped > 0 {
		s.w.config.Metrics.RejectedDropped.Add(float64(dropped))
		s.w.config.Log.Info("deleted rejected payloads over the limits", "payloads", dropped)
	}
	return nil
}

// trimNow calls trim, with a timeout: payloads that are being added wait for the lock.
func (s *rejectedStore) trimNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, minTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trim(ctx)
}

// keepLimits calls trim at the start and every hour.
func (s *rejectedStore) keepLimits(ctx context.Context) {
	for {
		wait := trimInterval
		if err := s.trimNow(ctx); err != nil {
			wait = time.Minute
			if ctx.Err() == nil && !s.w.unavailable.Load() {
				s.w.config.Log.Warn("deleting rejected payloads over the limits", "error", err)
			}
		}
		if presence.Sleep(ctx, wait) != nil {
			return
		}
	}
}
