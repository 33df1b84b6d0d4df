package live

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
)

const (
	bucketLength = 100 * time.Millisecond
	keepRecent   = 8 * time.Second // longer than a poll looks back
	settled      = 3               // buckets: events in the last ones may not have reached the hub yet
)

// recent has the events of the last seconds that the hub has applied, in buckets of time. If the database has as many in a
// bucket, with the same sum of times, it has no others, and polls skip the bucket.
type recent map[int64]map[seenEvent]struct{}

type seenEvent struct {
	contact *contact
	at      int64 // microseconds
	seq     int16
}

// bucketOf returns the number of a bucket. The bucket ends at its number times its length, inclusive.
func bucketOf(at int64) int64 {
	length := bucketLength.Microseconds()
	return (at + length - 1) / length
}

// add returns false for a duplicate.
func (r recent) add(c *contact, e event, now time.Time) bool {
	if now.Sub(e.at) > keepRecent {
		return true
	}
	seen := seenEvent{c, e.at.UnixMicro(), e.seq}
	n := bucketOf(seen.at)
	bucket := r[n]
	if bucket == nil {
		bucket = map[seenEvent]struct{}{}
		r[n] = bucket
		oldest := bucketOf(now.Add(-keepRecent).UnixMicro())
		for n := range r {
			if n < oldest {
				delete(r, n)
			}
		}
	}
	if _, known := bucket[seen]; known {
		return false
	}
	bucket[seen] = struct{}{}
	return true
}

// sum returns the number of events in a bucket, and the sum of their times since a moment.
func (r recent) sum(bucket, since int64) (events, total int64) {
	for seen := range r[bucket] {
		events++
		total += seen.at - since
	}
	return events, total
}

// unknown compares the database with the hub between two moments, except for the last buckets. It returns the range that has
// all differences.
func (h *Hub) unknown(ctx context.Context, from, to time.Time) (after, until time.Time, any bool, err error) {
	first, last := bucketOf(from.UnixMicro())-1, bucketOf(to.UnixMicro())-1-settled
	start := first * bucketLength.Microseconds()
	moment := func(bucket int64) time.Time { return time.UnixMicro(bucket * bucketLength.Microseconds()) }
	rows, err := h.q.CountRecentEvents(ctx, db.CountRecentEventsParams{After: postgres.Time(moment(first)), Until: postgres.Time(moment(last))})
	if err != nil {
		return after, until, false, err
	}
	stored := make(map[int64]db.CountRecentEventsRow, len(rows))
	for _, row := range rows {
		stored[first+row.Bucket] = row
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := first + 1; n <= last; n++ {
		events, total := h.recent.sum(n, start)
		if stored[n].Events == events && stored[n].Total == total {
			continue
		}
		if !any {
			after = moment(n - 1)
		}
		until, any = moment(n), true
	}
	return after, until, any, nil
}
