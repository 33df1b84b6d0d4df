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
	over, err := in.RangeQuery.read(now, nil)
	if err != nil {
		return out, err
	}
	out.Comparison, err = s.History.At(now).Compare(ctx, in.InstanceID, in.Phones, over)
	return out, err
}

type heatmapBody struct{ history.Heatmap }

func (b heatmapBody) rows() ([]presence.Heat, *string) { return b.Cells, nil }

func (s *server) heatmap(ctx context.Context, in *struct {
	InstancePath
	RangeQuery
	FormatQuery
	Measure presence.Measure `query:"measure" enum:"typing,recording,inChat" default:"inChat" doc:"What to sum up"`
	TZ      string           `query:"tz" default:"UTC" doc:"The IANA time zone whose hours are meant" example:"America/Sao_Paulo"`
}) (out heatmapBody, err error) {
	now := s.Now()
	over, err := in.RangeQuery.read(now, nil)
	if err != nil {
		return out, err
	}
	loc, err := zone(in.TZ)
	if err != nil {
		return out, err
	}
	cells, err := s.History.At(now).Heatmap(ctx, in.InstanceID, in.Measure, over, loc)
	out.Heatmap = history.Heatmap{From: over.From, To: over.To, TZ: loc.String(), Measure: in.Measure, Cells: cells}
	return out, err
}

type topBody struct{ history.Top }

func (b topBody) rows() ([]presence.Rank, *string) { return b.Contacts, nil }

func (s *server) top(ctx context.Context, in *struct {
	InstancePath
	RangeQuery
	FormatQuery
	By    history.By `query:"by" enum:"typing,recording,inChat,visits" default:"typing" doc:"What the contacts have most of: time of typing, recording or in the chat, or the number of visits"`
	Limit int        `query:"limit" minimum:"1" maximum:"1000" default:"10" doc:"How many to give at most"`
}) (out topBody, err error) {
	now := s.Now()
	over, err := in.RangeQuery.read(now, nil)
	if err != nil {
		return out, err
	}
	measure, byCount := in.By.Measure()
	contacts, err := s.History.At(now).Top(ctx, in.InstanceID, measure, byCount, over, in.Limit)
	out.Top = history.Top{From: over.From, To: over.To, By: in.By, Contacts: contacts}
	return out, err
}
