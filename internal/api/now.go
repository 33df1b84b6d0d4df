package api

import (
	"context"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type nowBody struct {
	Contacts   []history.NowContact `json:"contacts"`
	Counts     statusCounts         `json:"counts" doc:"How many contacts have each status, regardless of the parameter status"`
	Instances  []string             `json:"instances" doc:"The ids of the instances"`
	NextCursor *string              `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b nowBody) rows() ([]history.NowContact, *string) { return b.Contacts, b.NextCursor }

type statusCounts struct {
	Available   int `json:"AVAILABLE"`
	Unavailable int `json:"UNAVAILABLE"`
	Composing   int `json:"COMPOSING"`
	Paused      int `json:"PAUSED"`
	Recording   int `json:"RECORDING"`
}

type nowInput struct {
	PageQuery
	ContactsFilter
	InstanceID string `query:"instance" maxLength:"128" doc:"Only this instance's contacts"`
	Sort       string `query:"sort" enum:"activity,since,recent,phone" default:"activity" doc:"activity: typing, recording, in the chat, away; since: the latest change first; recent: the latest event first"`
}

func (s *server) now(ctx context.Context, in *nowInput, at page) (out nowBody, err error) {
	statuses, err := in.statuses()
	if err != nil {
		return out, err
	}
	list := append([]string{"now", in.InstanceID, in.Sort}, in.key()...)
	after, err := readCursor(at.cursor, list...)
	if err != nil {
		return out, err
	}
	found, err := s.History.At(s.Now()).Now(ctx, history.NowQuery{
		Visible: auth.FromContext(ctx).Instances(), InstanceID: in.InstanceID, Statuses: statuses, Search: in.Search,
		Sort: history.NowSort(in.Sort), After: after.Now, Limit: at.limit + 1,
	})
	if err != nil {
		return out, err
	}
	out.Contacts, out.NextCursor = cutPage(found.Contacts, at.limit, func(last history.NowContact) cursor {
		return cursor{List: list, Now: &last}
	})
	out.Instances = found.Instances
	out.Counts = statusCounts{
		Available: found.Counts[presence.Available], Unavailable: found.Counts[presence.Unavailable],
		Composing: found.Counts[presence.Composing], Paused: found.Counts[presence.Paused], Recording: found.Counts[presence.Recording],
	}
	return out, nil
}
