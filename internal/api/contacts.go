package api

import (
	"context"
	"slices"
	"strings"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type instancesBody struct {
	Instances  []presence.Instance `json:"instances"`
	NextCursor *string             `json:"nextCursor" doc:"What to give as cursor for the next page; null on the last"`
}

func (b instancesBody) rows() ([]presence.Instance, *string) { return b.Instances, b.NextCursor }

func (s *server) instances(ctx context.Context, in *struct{ PageQuery }) (out instancesBody, err error) {
	const list = "instances"
	page, err := readCursor(in.Cursor, list)
	if err != nil {
		return out, err
	}
	var after string
	if page != nil {
		after = page.Name
	}
	found, err := s.History.Instances(ctx, after, in.Limit+1)
	if err != nil {
		return out, err
	}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.NextCursor = cursor{List: []string{list}, Name: found[in.Limit-1].InstanceID}.encode()
	}
	out.Instances = found
	return out, nil
}

type contactsBody struct {
	Contacts   []presence.Contact `json:"contacts"`
	NextCursor *string            `json:"nextCursor" doc:"What to give as cursor for the next page; null on the last"`
}

func (b contactsBody) rows() ([]presence.Contact, *string) { return b.Contacts, b.NextCursor }

type contactsInput struct {
	InstancePath
	PageQuery
	Status []string `query:"status" enum:"AVAILABLE,UNAVAILABLE,COMPOSING,PAUSED,RECORDING" doc:"Only who has one of these statuses now, separated by commas"`
	Search string   `query:"search" maxLength:"128" doc:"Only phones with this in them"`
}

func (s *server) contacts(ctx context.Context, in *contactsInput) (out contactsBody, err error) {
	ask := history.ContactsQuery{InstanceID: in.InstanceID, Search: in.Search, Limit: in.Limit + 1}
	if !history.IsText(in.Search) {
		return out, invalid("search", "it must be UTF-8 without NUL characters")
	}
	for _, name := range in.Status {
		status, err := presence.ParseStatus(name)
		if err != nil {
			return out, invalid("status", err.Error())
		}
		ask.Statuses = append(ask.Statuses, status)
	}
	slices.Sort(in.Status)
	list := []string{"contacts", in.InstanceID, strings.Join(slices.Compact(in.Status), ","), in.Search}
	page, err := readCursor(in.Cursor, list...)
	if err != nil {
		return out, err
	}
	if page != nil {
		ask.After = page.Name
	}
	found, err := s.History.Contacts(ctx, ask)
	if err != nil {
		return out, err
	}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.NextCursor = cursor{List: list, Name: found[in.Limit-1].Phone}.encode()
	}
	out.Contacts = found
	return out, nil
}

func (s *server) contact(ctx context.Context, in *ContactPath) (presence.Contact, error) {
	return s.History.Contact(ctx, in.InstanceID, in.Phone)
}
