package ingest

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/presencelog/presencelog/internal/presence"
)

// Limits are the maximum numbers of new instances and contacts in an hour; 0 means no limit. They do not apply to imports and
// events from the spool.
type Limits struct{ InstancesPerHour, ContactsPerHour int }

// LimitError says that there were too many new instances or contacts in the last hour.
type LimitError struct {
	What       string // instances or contacts
	PerHour    int
	RetryAfter time.Duration
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("more than %d new %s in an hour", e.PerHour, e.What)
}

// newContacts looks up the contacts of a batch that are not cached, and limits how many are new. It does not run during commits:
// this would take more and smaller statements, and a third more CPU time.
type newContacts struct {
	w     *Writer
	found lookup // of the current batch

	instances, contacts quota
}

// resolve caches the ids of the events' contacts and returns an error for each contact over a limit. If the database fails, it
// returns nil, and the events go to the spool.
func (n *newContacts) resolve(events []presence.Event) map[contact]*LimitError {
	if n.w.spoolOnly() {
		return nil
	}
	missing := n.w.contacts.cached(contactsOf(events), &n.found)
	if len(missing) == 0 {
		return nil
	}
	now := time.Now()
	var result resolved
	err := n.w.try(func(ctx context.Context) (err error) {
		result, err = n.w.contacts.resolve(ctx, missing, 0, limits{n.instances.left(now), n.contacts.left(now)})
		n.instances.use(now, result.addedInstances)
		n.contacts.use(now, len(result.added))
		return err
	})
	if err != nil {
		n.w.config.Log.Warn("resolving contacts", "contacts", len(missing), "error", err)
		n.w.setUnavailable(err)
		return nil
	}
	errs := map[contact]*LimitError{}
	for k, what := range result.overLimit {
		q := n.contacts
		if what == overInstances {
			q = n.instances
		}
		errs[k] = &LimitError{What: what, PerHour: q.perHour, RetryAfter: q.next(now)}
	}
	return errs
}

// quota limits how many are new in an hour.
type quota struct {
	perHour int
	tokens  *rate.Limiter // nil: no limit
}

func newQuota(perHour int) quota {
	if perHour == 0 {
		return quota{}
	}
	return quota{perHour, rate.NewLimiter(rate.Limit(float64(perHour)/time.Hour.Seconds()), perHour)}
}

func (q quota) left(now time.Time) int32 {
	if q.tokens == nil {
		return math.MaxInt32
	}
	return int32(min(max(0, q.tokens.TokensAt(now)), math.MaxInt32))
}

// use takes n tokens; left has said that there are enough.
func (q quota) use(now time.Time, n int) {
	if q.tokens != nil {
		q.tokens.AllowN(now, n)
	}
}

// next returns the time until there is a token.
func (q quota) next(now time.Time) time.Duration {
	missing := max(0, 1-q.tokens.TokensAt(now))
	return time.Duration(missing / float64(q.perHour) * float64(time.Hour))
}
