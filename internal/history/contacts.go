package history

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Instances returns the instances that have events, in the order of their ids, at most limit, those after the given id. Of
// visible, nil means all instances.
func (r *Reader) Instances(ctx context.Context, visible []string, after string, limit int) ([]presence.Instance, error) {
	rows, err := r.q.ListInstances(ctx, db.ListInstancesParams{AfterName: after, Visible: visible, MaxRows: int32(limit)})
	if err != nil {
		return nil, err
	}
	list := make([]presence.Instance, len(rows))
	for i, row := range rows {
		list[i] = presence.Instance{
			InstanceID: row.Name, FirstEventAt: row.FirstEventAt.Time.UTC(), LastEventAt: row.LastEventAt.Time.UTC(),
		}
	}
	return list, nil
}

// Contact returns one contact and what it does now.
func (r *Reader) Contact(ctx context.Context, instanceID, phone string) (presence.Contact, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return presence.Contact{}, err
	}
	now := r.now()
	row, err := r.q.GetContact(ctx, db.GetContactParams{Now: postgres.Time(now), ContactID: id})
	if errors.Is(err, pgx.ErrNoRows) {
		return presence.Contact{}, &NotFoundError{InstanceID: instanceID, Phone: phone}
	}
	return contactOf(db.ListContactsRow(row), now), err
}

// ContactsQuery asks for contacts of an instance.
type ContactsQuery struct {
	InstanceID string
	Statuses   []presence.Status // one of these now; none means any
	Search     string            // a part of the phone
	After      string            // only phones after this one, in the order of bytes
	Limit      int
}

// Contacts returns contacts in the order of their phones.
func (r *Reader) Contacts(ctx context.Context, query ContactsQuery) ([]presence.Contact, error) {
	id, err := r.instance(ctx, query.InstanceID)
	if err != nil {
		return nil, err
	}
	if len(query.Statuses) == 0 {
		query.Statuses = presence.Statuses()
	}
	statuses := make([]int16, len(query.Statuses))
	for i, s := range query.Statuses {
		statuses[i] = int16(s)
	}
	now := r.now()
	all := db.ListContactsParams{
		Now: postgres.Time(now), InstanceID: id, AfterPhone: query.After, Search: query.Search, Statuses: statuses,
		MaxRows: int32(query.Limit),
	}
	if slices.Contains(query.Statuses, presence.Unavailable) {
		rows, err := r.q.ListContacts(ctx, all)
		return contactsOf(rows, now), err
	}
	present, err := r.q.ListPresentContacts(ctx, db.ListPresentContactsParams{
		Now: all.Now, InstanceID: all.InstanceID, AfterPhone: all.AfterPhone, Search: all.Search, Statuses: all.Statuses,
		MaxRows: all.MaxRows,
	})
	rows := make([]db.ListContactsRow, len(present))
	for i, row := range present {
		rows[i] = db.ListContactsRow(row)
	}
	return contactsOf(rows, now), err
}

func contactsOf(rows []db.ListContactsRow, now time.Time) []presence.Contact {
	list := make([]presence.Contact, len(rows))
	for i, row := range rows {
		list[i] = contactOf(row, now)
	}
	return list
}

func contactOf(row db.ListContactsRow, now time.Time) presence.Contact {
	return presence.Contact{
		Phone: row.Phone, Status: presence.Status(row.Status), Since: row.Since.Time.UTC(),
		FirstEventAt: row.FirstEventAt.Time.UTC(), LastEventAt: row.LastEventAt.Time.UTC(), Now: now,
	}
}
