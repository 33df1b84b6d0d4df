package api

import (
	"context"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// BucketsQuery is the parameters of durations.
type BucketsQuery struct {
	CalendarQuery
	Bucket string `query:"bucket" enum:"none,hour,day,week,month" default:"none" doc:"Divide the range into buckets; weeks begin on Monday"`
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
}) (durationsBody, error) {
	return s.durations(ctx, in.InstanceID, in.Phone, in.BucketsQuery)
}

func (s *server) instanceDurations(ctx context.Context, in *struct {
	InstancePath
	BucketsQuery
}) (durationsBody, error) {
	return s.durations(ctx, in.InstanceID, "", in.BucketsQuery)
}

// durations reads a contact or, for an empty phone, all contacts of an instance.
func (s *server) durations(ctx context.Context, instanceID, phone string, q BucketsQuery) (out durationsBody, err error) {
	reader, over, err := s.calendar(ctx, instanceID, q.CalendarQuery)
	if err != nil {
		return out, err
	}
	over.Bucket = history.Bucket(q.Bucket)
	out.Sums, err = reader.Durations(ctx, instanceID, phone, over)
	return out, err
}
