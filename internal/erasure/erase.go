package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/presence"
)

// Request says what to erase.
type Request struct {
	InstanceID string
	Phone      string // "": the whole instance
	Block      bool   // also refuse future events
	By         string // the caller, for the audit
}

// Result is how much was deleted.
type Result struct {
	Contacts int   `json:"contacts" doc:"Contacts that were deleted"`
	Events   int64 `json:"events" doc:"Events that were deleted"`
	Rejected int   `json:"rejected" doc:"Rejected payloads with its name that were deleted"`
}

const (
	rejectedPage      = 100
	writerTimeout     = 30 * time.Second
	invalidateTimeout = 5 * time.Second
)

// passes is the maximum number of passes. They end when one finds nothing: events that are being written may bring a contact
// back.
const passes = 3

// Erase deletes every trace: events, intervals, states, messages to hooks, rejected payloads and the contact itself. It is
// complete if it returns no error; after an error, call it again. For an unknown contact, it can only block.
func Erase(ctx context.Context, pool *pgxpool.Pool, r Request) (result Result, err error) {
	q := db.New(pool)
	key, err := q.ErasureKey(ctx)
	if err != nil {
		return result, err
	}
	instance, err := q.FindInstance(ctx, r.InstanceID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return result, err
	}
	hooks, err := q.ListHooks(ctx)
	if err != nil {
		return result, err
	}
	var erased []int32
	for pass := range passes {
		found, events, err := r.delete(ctx, pool, instance, key, pass == 0)
		// Receivers have cached the contacts' ids and would write events with them, which nobody could find. Not only without an
		// error: the response to COMMIT may have been lost, or the caller may have given up.
		if err := errors.Join(err, invalidateContactIDs(ctx, q)); err != nil {
			return result, fmt.Errorf("erasing: %w", err)
		}
		erased = append(erased, found...)
		result.Events += events
		if pass == 0 {
			result.Contacts = len(found)
		} else if len(found) == 0 {
			break
		}
		busy := intervals.AwaitWriters(ctx, q, writerTimeout)
		if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			q := db.New(tx)
			if _, err := q.RefreshLock(ctx); err != nil {
				return err
			}
			_, err := deleteHistory(ctx, q, instance, erased)
			return err
		}); err != nil {
			return result, err
		}
		if busy != nil {
			return result, fmt.Errorf("%w; erase again", busy)
		}
		// Until services know, they store events of a blocked contact, and messages to hooks about one whose status times out. The
		// next pass deletes both.
		if pass == 0 && (r.Block || len(hooks) > 0) {
			if err := presence.Sleep(ctx, refreshInterval+refreshTimeout); err != nil {
				return result, err
			}
		}
	}
	name := r.Phone
	if name == "" {
		name = r.InstanceID
	}
	for payload, err := range rejectedAbout(ctx, q, r.InstanceID, name) {
		if err != nil {
			return result, err
		}
		if _, err := q.DropRejected(ctx, payload.ID); err != nil {
			return result, err
		}
		result.Rejected++
	}
	return result, q.AnalyzeErased(ctx)
}

// invalidateContactIDs makes receivers look up contacts again, also if ctx has ended.
func invalidateContactIDs(ctx context.Context, q *db.Queries) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), invalidateTimeout)
	defer cancel()
	return q.InvalidateContactIDs(ctx)
}

// delete deletes everything found by the subject's name, in one transaction.
func (r Request) delete(
	ctx context.Context, pool *pgxpool.Pool, instance int32, key []byte, audit bool,
) (ids []int32, events int64, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
		q := db.New(tx)
		if _, err := q.RefreshLock(ctx); err != nil { // no intervals are computed during the transaction
			return err
		}
		if ids, err = q.ContactsToErase(ctx, db.ContactsToEraseParams{Instance: r.InstanceID, Phone: r.Phone}); err != nil {
			return err
		}
		if events, err = deleteHistory(ctx, q, instance, ids); err != nil {
			return err
		}
		if err := q.EraseContacts(ctx, ids); err != nil {
			return err
		}
		if r.Phone == "" {
			if err := q.LockInstance(ctx, r.InstanceID); err != nil {
				return err
			}
			if err := q.EraseInstance(ctx, r.InstanceID); err != nil {
				return err
			}
		}
		if err := q.EraseHookDeliveries(ctx, db.EraseHookDeliveriesParams{Instance: r.InstanceID, Phone: r.Phone}); err != nil {
			return err
		}
		if !audit {
			return nil
		}
		s := subjectOf(key, r.InstanceID, r.Phone)
		return q.AddErasure(ctx, db.AddErasureParams{
			Instance: r.InstanceID, Subject: s[:], WholeInstance: r.Phone == "", Blocked: r.Block, ErasedBy: r.By, Events: events,
		})
	})
	return ids, events, err
}

func deleteHistory(ctx context.Context, q *db.Queries, instance int32, ids []int32) (events int64, err error) {
	if events, err = q.EraseEvents(ctx, ids); err != nil {
		return 0, err
	}
	if err := q.LockContactStates(ctx, ids); err != nil {
		return 0, err
	}
	if err := q.EraseIntervals(ctx, ids); err != nil {
		return 0, err
	}
	if err := q.DeleteEmptySums(ctx, instance); err != nil {
		return 0, err
	}
	return events, q.EraseContactStates(ctx, ids)
}

// rejectedAbout yields the rejected payloads that contain the subject's name, except those of another instance. They may be
// invalid, so they are searched as bytes.
func rejectedAbout(ctx context.Context, q *db.Queries, instanceID, name string) iter.Seq2[db.ListRejectedBodiesRow, error] {
	return func(yield func(db.ListRejectedBodiesRow, error) bool) {
		after := pgtype.UUID{Valid: true}
		for {
			rows, err := q.ListRejectedBodies(ctx, db.ListRejectedBodiesParams{AfterID: after, MaxRows: rejectedPage})
			if err != nil {
				yield(db.ListRejectedBodiesRow{}, err)
			}
			if err != nil || len(rows) == 0 {
				return
			}
			for _, r := range rows {
				after = r.ID
				if of, _ := gateway.ContactZAPI(r.Body); of != "" && of != instanceID {
					continue
				}
				if (containsWord(r.Body, name) || containsWord([]byte(r.Reason), name)) && !yield(r, nil) {
					return
				}
			}
		}
	}
}

// containsWord reports whether a text has a whole word: 55 is not in 5544.
func containsWord(text []byte, word string) bool {
	for start := 0; word != ""; {
		i := bytes.Index(text[start:], []byte(word))
		if i < 0 {
			break
		}
		start += i
		before, _ := utf8.DecodeLastRune(text[:start])
		after, _ := utf8.DecodeRune(text[start+len(word):])
		if !partOfWord(before) && !partOfWord(after) {
			return true
		}
		start++
	}
	return false
}

func partOfWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
