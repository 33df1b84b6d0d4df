package history

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// NowContact is one contact of any instance and what it does now.
type NowContact struct {
	InstanceID  string          `json:"instanceId"`
	Phone       string          `json:"phone"`
	Status      presence.Status `json:"status"`
	Since       time.Time       `json:"since" doc:"When the status began"`
	LastEventAt time.Time       `json:"lastEventAt"`
}

// NowSort is an order of contacts.
type NowSort string

const (
	ByActivity NowSort = "activity" // typing, recording, in the chat, away; the latest change first
	BySince    NowSort = "since"    // the latest change first
	ByRecent   NowSort = "recent"   // the latest event first
	ByPhone    NowSort = "phone"
)

// NowQuery asks for the contacts of all instances, or of one.
type NowQuery struct {
	Visible    []string          // the instances that may be given; nil is all
	InstanceID string            // "" is all
	Statuses   []presence.Status // none means any
	Search     string            // a part of the phone
	Sort       NowSort
	After      *NowContact // the last of the page before
	Limit      int
}

// Now is a page of contacts, and how many there are with each status, whatever Statuses says.
type Now struct {
	Contacts  []NowContact
	Counts    map[presence.Status]int
	Instances []string
}

// Now returns what contacts do now, at one moment.
func (r *Reader) Now(ctx context.Context, query NowQuery) (out Now, err error) {
	if query.InstanceID != "" {
		if query.Visible != nil && !slices.Contains(query.Visible, query.InstanceID) {
			return out, &NotFoundError{InstanceID: query.InstanceID}
		}
		if _, err := r.instance(ctx, query.InstanceID); err != nil {
			return out, err
		}
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, r.conn, snapshot, func(tx pgx.Tx) (err error) {
		out, err = (&Reader{conn: r.conn, q: db.New(tx), now: r.now}).nowIn(ctx, query)
		return err
	})
	return out, err
}

// nowIn reads the contacts that may be in the chat, which are few, and of the others only as many as the page needs.
func (r *Reader) nowIn(ctx context.Context, query NowQuery) (out Now, err error) {
	names, err := r.q.InstanceNames(ctx, db.InstanceNamesParams{Visible: query.Visible, MaxRows: 1000})
	if err != nil {
		return out, err
	}
	out.Instances = append([]string{}, names...) // never null
	visible := query.Visible
	if query.InstanceID != "" {
		visible = []string{query.InstanceID}
	}
	fresh, err := r.q.NowFresh(ctx, db.NowFreshParams{Now: postgres.Time(r.now()), Visible: visible, Search: query.Search})
	if err != nil {
		return out, err
	}
	away, err := r.q.CountAway(ctx, db.CountAwayParams{Visible: visible, Search: query.Search})
	if err != nil {
		return out, err
	}
	out.Counts = map[presence.Status]int{presence.Unavailable: int(away)}
	out.Contacts = []NowContact{}
	add := func(c NowContact) {
		wanted := len(query.Statuses) == 0 || slices.Contains(query.Statuses, c.Status)
		if wanted && (query.After == nil || compareNow(query.Sort, c, *query.After) > 0) {
			out.Contacts = append(out.Contacts, c)
		}
	}
	for _, c := range fresh {
		out.Counts[presence.Status(c.Status)]++
		add(NowContact{c.Instance, c.Phone, presence.Status(c.Status), c.Since.Time.UTC(), c.LastEventAt.Time.UTC()})
	}
	here := 0 // contacts in the chat; ordered by activity, all others come after them
	for _, c := range out.Contacts {
		if c.Status != presence.Unavailable {
			here++
		}
	}
	enough := query.Sort == ByActivity && here >= query.Limit
	if !enough && (len(query.Statuses) == 0 || slices.Contains(query.Statuses, presence.Unavailable)) {
		others, err := r.q.NowAway(ctx, awayAfter(query, visible))
		if err != nil {
			return out, err
		}
		for _, c := range others {
			add(NowContact{c.Instance, c.Phone, presence.Unavailable, c.Since.Time.UTC(), c.LastEventAt.Time.UTC()})
		}
	}
	slices.SortFunc(out.Contacts, func(a, b NowContact) int { return compareNow(query.Sort, a, b) })
	out.Contacts = out.Contacts[:min(len(out.Contacts), query.Limit)]
	return out, nil
}

// awayAfter asks for as many of the contacts that are away as a page may have.
func awayAfter(query NowQuery, visible []string) db.NowAwayParams {
	p := db.NowAwayParams{
		Sort: string(query.Sort), Visible: visible, Search: query.Search, AfterAt: postgres.Infinity, MaxRows: int32(query.Limit),
	}
	switch after := query.After; {
	case after == nil || query.Sort == ByActivity && after.Status != presence.Unavailable: // from the first on
		if query.Sort == ByPhone {
			p.AfterAt = postgres.MinusInfinity
		}
	case query.Sort == ByPhone:
		p.AfterAt, p.AfterPhone, p.AfterInstance = postgres.MinusInfinity, after.Phone, after.InstanceID
	case query.Sort == ByRecent:
		p.AfterAt, p.AfterPhone, p.AfterInstance = postgres.Time(after.LastEventAt), after.Phone, after.InstanceID
	default:
		p.AfterAt, p.AfterPhone, p.AfterInstance = postgres.Time(after.Since), after.Phone, after.InstanceID
	}
	return p
}

var activity = map[presence.Status]int{
	presence.Composing: 0, presence.Recording: 1, presence.Available: 2, presence.Paused: 2, presence.Unavailable: 3,
}

func compareNow(by NowSort, a, b NowContact) int {
	name := cmp.Or(strings.Compare(a.Phone, b.Phone), strings.Compare(a.InstanceID, b.InstanceID))
	switch by {
	case ByPhone:
		return name
	case ByRecent:
		return cmp.Or(b.LastEventAt.Compare(a.LastEventAt), name)
	case BySince:
		return cmp.Or(b.Since.Compare(a.Since), name)
	}
	return cmp.Or(cmp.Compare(activity[a.Status], activity[b.Status]), b.Since.Compare(a.Since), name)
}
