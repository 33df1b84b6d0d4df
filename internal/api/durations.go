package api

import (
	"context"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// BucketsQuery is the parameters of durations.
type BucketsQuery struct {
	RangeQuery
	FormatQuery
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

type durationsBody struct{ history.Sums }

// Without buckets, the total is the only row.
func (b durationsBody) rows() ([]presence.Bucket, *string) {
	if len(b.Buckets) == 0 {
		return []presence.Bucket{{Start: b.From, End: b.To, Summary: b.Total}}, nil
	}
	return b.Buckets, nil
}

func (s *server) contactDurations(ctx context.Context, in *struct {
	ContactPath
	BucketsQuery
}) (out durationsBody, err error) {
	now := s.Now()
	over, err := in.BucketsQuery.read(now)
	if err != nil {
		return out, err
	}
	out.Sums, err = s.History.At(now).ContactDurations(ctx, in.InstanceID, in.Phone, over)
	return out, err
}

func (s *server) instanceDurations(ctx context.Context, in *struct {
	InstancePath
	BucketsQuery
}) (out durationsBody, err error) {
	now := s.Now()
	over, err := in.BucketsQuery.read(now)
	if err != nil {
		return out, err
	}
	out.Sums, err = s.History.At(now).InstanceDurations(ctx, in.InstanceID, over)
	return out, err
}
