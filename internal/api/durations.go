package api

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type durationsBody struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Bucket  history.Bucket    `json:"bucket" enum:"none,hour,day,week,month"`
	TZ      string            `json:"tz"`
	Total   presence.Summary  `json:"total"`
	Buckets []presence.Bucket `json:"buckets" doc:"The parts of the range, in order, also the empty ones; none for bucket=none"`
}

// BucketsQuery is the parameters of durations.
type BucketsQuery struct {
	RangeQuery
	Bucket string `query:"bucket" enum:"none,hour,day,week,month" default:"none" doc:"What to cut the range into; weeks begin on Monday"`
	TZ     string `query:"tz" default:"UTC" doc:"The IANA time zone whose calendar cuts" example:"America/Sao_Paulo"`
}

// durations answers with what sum says about the range cut into buckets.
func (s *server) durations(
	q BucketsQuery, sum func(bounds []time.Time) (presence.Summary, []presence.Bucket, error),
) (*struct{ Body durationsBody }, error) {
	in, err := q.RangeQuery.read(s.Now(), nil)
	if err != nil {
		return nil, err
	}
	loc, err := zone(q.TZ)
	if err != nil {
		return nil, err
	}
	bounds, err := history.Bounds(in, history.Bucket(q.Bucket), loc)
	if err != nil {
		return nil, err
	}
	total, buckets, err := sum(bounds)
	if q.Bucket == string(history.NoBucket) {
		buckets = []presence.Bucket{}
	}
	return &struct{ Body durationsBody }{durationsBody{in.From, in.To, history.Bucket(q.Bucket), q.TZ, total, buckets}}, err
}

func (s *server) contactDurations(ctx context.Context, in *struct {
	ContactPath
	BucketsQuery
}) (*struct{ Body durationsBody }, error) {
	return s.durations(in.BucketsQuery, func(bounds []time.Time) (presence.Summary, []presence.Bucket, error) {
		return s.History.ContactDurations(ctx, in.InstanceID, in.Phone, bounds)
	})
}

func (s *server) instanceDurations(ctx context.Context, in *struct {
	InstancePath
	BucketsQuery
}) (*struct{ Body durationsBody }, error) {
	return s.durations(in.BucketsQuery, func(bounds []time.Time) (presence.Summary, []presence.Bucket, error) {
		return s.History.InstanceDurations(ctx, in.InstanceID, bounds)
	})
}
