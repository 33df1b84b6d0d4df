package api

import (
	"context"
	"slices"
	"strings"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

type instancesBody struct {
	Instances  []presence.Instance `json:"instances"`
	NextCursor *string             `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b instancesBody) rows() ([]presence.Instance, *string) { return b.Instances, b.NextCursor }

func (s *server) instances(ctx context.Context, _ *struct{ PageQuery }, at page) (out instancesBody, err error) {
	const list = "instances"
	after, err := readCursor(at.cursor, list)
	if err != nil {
		return out, err
	}
	found, err := s.History.Instances(ctx, auth.FromContext(ctx).Instances(), after.Name, at.limit+1)
	out.Instances, out.NextCursor = cutPage(found, at.limit, func(last presence.Instance) cursor {
		return cursor{List: []string{list}, Name: last.InstanceID}
	})
	return out, err
}

type contactsBody struct {
	Contacts   []presence.Contact `json:"contacts"`
	NextCursor *string            `json:"nextCursor" doc:"The cursor of the next page; null on the last page"`
}

func (b contactsBody) rows() ([]presence.Contact, *string) { return b.Contacts, b.NextCursor }

type contactsInput struct {
	InstancePath
	PageQuery
	ContactsFilter
}

// ContactsFilter is the parameters of lists of contacts.
type ContactsFilter struct {
	Status []string `query:"status" enum:"AVAILABLE,UNAVAILABLE,COMPOSING,PAUSED,RECORDING" doc:"Only contacts that have one of these statuses now, separated by commas"`
	Search string   `query:"search" maxLength:"128" doc:"Only phones that contain this text"`
}

func (f ContactsFilter) statuses() ([]presence.Status, error) {
	if !history.IsText(f.Search) {
		return nil, invalid("search", "it must be UTF-8 without NUL characters")
	}
	return parseStatuses(f.Status)
}

func parseStatuses(names []string) ([]presence.Status, error) {
	statuses, err := presence.ParseStatuses(names)
	if err != nil {
		return nil, invalid("status", err.Error())
	}
	return statuses, nil
}

// key identifies a filter in cursors.
func (f ContactsFilter) key() []string {
	return []string{strings.Join(slices.Compact(slices.Sorted(slices.Values(f.Status))), ","), f.Search}
}

func (s *server) contacts(ctx context.Context, in *contactsInput, at page) (out contactsBody, err error) {
	statuses, err := in.statuses()
	if err != nil {
		return out, err
	}
	list := append([]string{"contacts", in.InstanceID}, in.key()...)
	after, err := readCursor(at.cursor, list...)
	if err != nil {
		return out, err
	}
	found, err := s.History.Contacts(ctx, history.ContactsQuery{
		InstanceID: in.InstanceID, Statuses: statuses, Search: in.Search, After: after.Name, Limit: at.limit + 1,
	})
	out.Contacts, out.NextCursor = cutPage(found, at.limit, func(last presence.Contact) cursor {
		return cursor{List: list, Name: last.Phone}
	})
	return out, err
}

func (s *server) contact(ctx context.Context, in *ContactPath) (presence.Contact, error) {
	return s.History.Contact(ctx, in.InstanceID, in.Phone)
}
