package api

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/internal/history"
)

// BucketsQuery is the parameters of durations.
type BucketsQuery struct {
	RangeQuery
	Bucket string `query:"bucket" enum:"none,hour,day,week,month" default:"none" doc:"What to cut the range into; weeks begin on Monday"`
	TZ     string `query:"tz" default:"UTC" doc:"The IANA time zone whose calendar cuts" example:"America/Sao_Paulo"`
}

func (q BucketsQuery) read(now time.Time) (history.Calendar, error) {
	in, err := q.RangeQuery.read(now, nil)
	if err != nil {
		return history.Calendar{}, err
	}
	loc, err := zone(q.TZ)
	return history.Calendar{Range: in, Bucket: history.Bucket(q.Bucket), Zone: loc}, err
}

func (s *server) contactDurations(ctx context.Context, in *struct {
	ContactPath
	BucketsQuery
}) (*struct{ Body history.Sums }, error) {
	now := s.Now()
	over, err := in.BucketsQuery.read(now)
	if err != nil {
		return nil, err
	}
	d, err := s.History.At(now).ContactDurations(ctx, in.InstanceID, in.Phone, over)
	return &struct{ Body history.Sums }{d}, err
}

func (s *server) instanceDurations(ctx context.Context, in *struct {
	InstancePath
	BucketsQuery
}) (*struct{ Body history.Sums }, error) {
	now := s.Now()
	over, err := in.BucketsQuery.read(now)
	if err != nil {
		return nil, err
	}
	d, err := s.History.At(now).InstanceDurations(ctx, in.InstanceID, over)
	return &struct{ Body history.Sums }{d}, err
}
