package history

import "context"

// Background returns the age in seconds of the oldest event that stored intervals do not include, 0 if there is none, and the
// number of contacts with late events that are not stored.
func (r *Reader) Background(ctx context.Context) (behind float64, late int64, err error) {
	status, err := r.q.IntervalStatus(ctx)
	if status.UnsettledSince.Valid {
		behind = max(0, r.now().Sub(status.UnsettledSince.Time).Seconds())
	}
	return behind, status.LateContacts, err
}
