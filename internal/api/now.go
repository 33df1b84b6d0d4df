package api

import (
	"context"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// NowBody is a page of contacts and what they do now.
type NowBody struct {
	Contacts   []history.NowContact `json:"contacts"`
	Counts     statusCounts         `json:"counts" doc:"How many contacts have each status, regardless of the parameter status"`
	Instances  []string             `json:"instances" doc:"The ids of the instances"`
	NextCursor *string              `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b NowBody) rows() ([]history.NowContact, *string) { return b.Contacts, b.NextCursor }

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

// NowPage returns the page that a query found, and its cursor. The query's limit is one more than the page's.
func NowPage(query history.NowQuery, found history.Now) (out NowBody) {
	out.Contacts, out.NextCursor = cutPage(found.Contacts, query.Limit-1, func(last history.NowContact) cursor {
		return cursor{List: nowList(query), Now: &last}
	})
	out.Instances = found.Instances
	out.Counts = statusCounts{
		Available: found.Counts[presence.Available], Unavailable: found.Counts[presence.Unavailable],
		Composing: found.Counts[presence.Composing], Paused: found.Counts[presence.Paused], Recording: found.Counts[presence.Recording],
	}
	return out
}

// nowList names the list of a query in cursors.
func nowList(query history.NowQuery) []string {
	filter := ContactsFilter{Search: query.Search}
	for _, status := range query.Statuses {
		filter.Status = append(filter.Status, status.String())
	}
	return append([]string{"now", query.InstanceID, string(query.Sort)}, filter.key()...)
}

func (s *server) now(ctx context.Context, in *nowInput, at page) (out NowBody, err error) {
	statuses, err := in.statuses()
	if err != nil {
		return out, err
	}
	query := history.NowQuery{
		Visible: auth.FromContext(ctx).Instances(), InstanceID: in.InstanceID, Statuses: statuses, Search: in.Search,
		Sort: history.NowSort(in.Sort), Limit: at.limit + 1,
	}
	after, err := readCursor(at.cursor, nowList(query)...)
	if err != nil {
		return out, err
	}
	query.After = after.Now
	found, err := s.History.At(s.Now()).Now(ctx, query)
	return NowPage(query, found), err
}
