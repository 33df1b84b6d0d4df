package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	comparedContacts = 100
	lateEvents       = 1000
	lateContacts     = 100
)

// contacts measures the durations of one and of several contacts, and the list of instances.
func (m *scaled) contacts(ctx context.Context) error {
	m.tell("contacts")
	over := history.Calendar{
		Range: history.Range{From: m.to.AddDate(0, 0, -60), To: m.to}, Bucket: history.Day, Zone: time.UTC,
	}
	if err := m.time("durations of a contact, 60 days", func() error {
		_, err := m.reader.Durations(ctx, scaleInstance, m.panel[0], over)
		return err
	}); err != nil {
		return err
	}
	compared := m.panel[:comparedContacts]
	if err := m.time(fmt.Sprintf("compare %d contacts, 60 days", len(compared)), func() error {
		_, err := m.reader.Compare(ctx, scaleInstance, compared, over.Range)
		return err
	}); err != nil {
		return err
	}
	return m.time("list of instances", func() error {
		_, err := m.reader.Instances(ctx, nil, "", 100)
		return err
	})
}

// views measures queries of the views, as a BI tool sends them.
func (m *scaled) views(ctx context.Context) error {
	m.tell("views")
	day, month := m.to.AddDate(0, 0, -10).Truncate(24*time.Hour), m.month()
	for _, question := range []struct {
		name, sql string
		args      []any
	}{
		{"view typing, one day", "SELECT count(*), sum(seconds) FROM analytics.typing WHERE started_at >= $1 AND started_at < $2",
			[]any{day, day.AddDate(0, 0, 1)}},
		{"view hourly, 30 days", "SELECT count(*), sum(typing_seconds) FROM analytics.hourly WHERE hour >= $1 AND hour < $2",
			[]any{month.From, month.To}},
		{"view instance_hourly, 30 days", "SELECT count(*), sum(typing_seconds) FROM analytics.instance_hourly WHERE hour >= $1 AND hour < $2",
			[]any{month.From, month.To}},
		{"view daily, 30 days", "SELECT count(*), sum(typing_seconds) FROM analytics.daily WHERE day >= $1 AND day < $2",
			[]any{month.From, month.To}},
		{"view typing, one contact, 30 days", "SELECT * FROM analytics.typing WHERE phone = $3 AND started_at >= $1 AND started_at < $2",
			[]any{month.From, month.To, m.panel[0]}},
		{"view visits, one contact, 30 days", "SELECT * FROM analytics.visits WHERE phone = $3 AND started_at >= $1 AND started_at < $2",
			[]any{month.From, month.To, m.panel[0]}},
		{"view hourly, one contact, 30 days", "SELECT * FROM analytics.hourly WHERE phone = $3 AND hour >= $1 AND hour < $2",
			[]any{month.From, month.To, m.panel[0]}},
		{"view daily, one contact, 30 days", "SELECT * FROM analytics.daily WHERE phone = $3 AND day >= $1 AND day < $2",
			[]any{month.From, month.To, m.panel[0]}},
		{"view current_status, counted by status", "SELECT status, count(*) FROM analytics.current_status GROUP BY status", nil},
		{"visits(…) of one day", "SELECT count(*) FROM analytics.visits($1, $2)", []any{day, day.AddDate(0, 0, 1)}},
	} {
		if err := m.time(question.name, func() error {
			rows, err := m.pool.Query(ctx, question.sql, question.args...)
			if err != nil {
				return err
			}
			rows.Close() // reads all rows
			return rows.Err()
		}); err != nil {
			return err
		}
	}
	return nil
}

// lateBatch measures how long it takes to write late events.
func (m *scaled) lateBatch(ctx context.Context) error {
	m.tell("late events")
	store, round := ingest.NewStore(m.pool), 0
	return m.time(fmt.Sprintf("late batch of %d events for %d contacts", lateEvents, lateContacts), func() error {
		round++
		events := make([]presence.Event, lateEvents)
		for i := range events {
			events[i] = presence.Event{
				InstanceID: scaleInstance, Phone: m.panel[i%lateContacts], Status: presence.Composing,
				ReceivedAt: m.to.AddDate(0, 0, -20-round).Add(time.Duration(i) * 7 * time.Second),
			}
		}
		return store.Write(ctx, events)
	})
}
