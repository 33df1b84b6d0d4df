package api

import (
	"context"

	"github.com/presencelog/presencelog/internal/history"
)

func (s *server) lanes(ctx context.Context, in *struct {
	ContactPath
	RangeQuery
	Columns int `query:"columns" minimum:"1" maximum:"4000" default:"1000" doc:"Number of equal columns that the range is divided into if it has more than 2000 spans"`
}) (out history.Lanes, err error) {
	now := s.Now()
	over, err := s.rangeOf(ctx, in.InstanceID, in.RangeQuery, now, nil)
	if err != nil {
		return out, err
	}
	return s.History.At(now).Lanes(ctx, in.InstanceID, in.Phone, over, in.Columns)
}
