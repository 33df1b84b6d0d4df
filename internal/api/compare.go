package api

import (
	"context"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type compareBody struct{ history.Comparison }

func (b compareBody) rows() ([]presence.ContactSummary, *string) { return b.Contacts, nil }

func (s *server) compare(ctx context.Context, in *struct {
	InstancePath
	RangeQuery
	FormatQuery
	Phones []string `query:"phone,explode" required:"true" minItems:"2" maxItems:"100" doc:"The contacts, as the gateway names them: phone=…&phone=…" example:"5544999999999,5511988887777"`
}) (out compareBody, err error) {
	now := s.Now()
	over, err := s.rangeOf(ctx, in.InstanceID, in.RangeQuery, now, nil)
	if err != nil {
		return out, err
	}
	out.Comparison, err = s.History.At(now).Compare(ctx, in.InstanceID, in.Phones, over)
	return out, err
}

type heatmapBody struct{ history.Heatmap }

func (b heatmapBody) rows() ([]presence.Heat, *string) { return b.Cells, nil }

// HeatmapQuery is the parameters of heat maps.
type HeatmapQuery struct {
	CalendarQuery
	Measure presence.Measure `query:"measure" enum:"typing,recording,inChat" default:"inChat" doc:"What to add up"`
}

func (s *server) contactHeatmap(ctx context.Context, in *struct {
	ContactPath
	HeatmapQuery
}) (heatmapBody, error) {
	return s.heatmap(ctx, in.InstanceID, in.Phone, in.HeatmapQuery)
}

func (s *server) instanceHeatmap(ctx context.Context, in *struct {
	InstancePath
	HeatmapQuery
}) (heatmapBody, error) {
	return s.heatmap(ctx, in.InstanceID, "", in.HeatmapQuery)
}

// heatmap reads a contact or, for an empty phone, all contacts of an instance.
func (s *server) heatmap(ctx context.Context, instanceID, phone string, q HeatmapQuery) (out heatmapBody, err error) {
	reader, over, err := s.calendar(ctx, instanceID, q.CalendarQuery)
	if err != nil {
		return out, err
	}
	out.Heatmap, err = reader.Heatmap(ctx, instanceID, phone, q.Measure, over.Range, over.Zone)
	return out, err
}

type habitsBody struct{ history.Habits }

func (b habitsBody) rows() ([]presence.Habit, *string) { return b.Cells, nil }

func (s *server) habits(ctx context.Context, in *struct {
	ContactPath
	CalendarQuery
}) (out habitsBody, err error) {
	reader, over, err := s.calendar(ctx, in.InstanceID, in.CalendarQuery)
	if err != nil {
		return out, err
	}
	out.Habits, err = reader.Habits(ctx, in.InstanceID, in.Phone, over.Range, over.Zone)
	return out, err
}

type topBody struct{ history.Top }

func (b topBody) rows() ([]presence.Rank, *string) { return b.Contacts, nil }

func (s *server) top(ctx context.Context, in *struct {
	InstancePath
	RangeQuery
	FormatQuery
	By    history.By `query:"by" enum:"typing,recording,inChat,visits" default:"typing" doc:"Rank by the time of typing, recording or in the chat, or by the number of visits"`
	Limit int        `query:"limit" minimum:"1" maximum:"1000" default:"10" doc:"Maximum number to return"`
}) (out topBody, err error) {
	now := s.Now()
	over, err := s.rangeOf(ctx, in.InstanceID, in.RangeQuery, now, nil)
	if err != nil {
		return out, err
	}
	out.Top, err = s.History.At(now).Top(ctx, in.InstanceID, in.By, over, in.Limit)
	return out, err
}
