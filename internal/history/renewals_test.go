package history_test

import (
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// TestRenewedSpanReadsFewEvents: a status that was renewed a hundred thousand times is read like one that was not.
func TestRenewedSpanReadsFewEvents(t *testing.T) {
	t.Parallel()
	pool := counted(t)
	ctx := t.Context()
	start := at("2026-03-10T00:00:00Z")
	const renewals = 100_000
	store(t, pool, []presence.Event{
		{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: start.Add(-time.Minute)},
		{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: start},
	})
	if _, err := pool.Exec(ctx, `INSERT INTO events (contact_id, received_at, seq, status)
		SELECT c.id, $1::timestamptz + n * interval '2 s', 0, 1 FROM contacts AS c, generate_series(1, $2) AS n`, start, renewals-1); err != nil {
		t.Fatal(err)
	}
	now := start.Add(2 * renewals * time.Second)
	w := &world{pool: pool}
	w.refresh(t, now.Add(-time.Minute))
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE events"); err != nil {
		t.Fatal(err)
	}
	reader := history.NewReader(pool, func() time.Time { return now })
	const aLook = 3 * 32 * 140 // at the contacts active since the watermark: some ranges of pages that the BRIN index names
	read := func(what string, most int64, ask func() error) {
		t.Helper()
		before := touched(t, pool)["events_2026_03"]
		if err := ask(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if rows := touched(t, pool)["events_2026_03"] - before; rows > most {
			t.Errorf("%s: %d events were read", what, rows)
		}
	}
	read("contact", 100, func() error {
		k, err := reader.Contact(ctx, "i", "p")
		if err == nil && (k.Status != presence.Available || !k.Since.Equal(start)) {
			t.Errorf("the contact is %s since %s", k.Status, k.Since)
		}
		return err
	})
	read("contacts", aLook, func() error {
		_, err := reader.Contacts(ctx, history.ContactsQuery{InstanceID: "i", Limit: 10, Statuses: []presence.Status{presence.Available}})
		return err
	})
	for what, from := range map[string]time.Time{"timeline of the last day": now.AddDate(0, 0, -1), "whole timeline": start.AddDate(0, 0, -1)} {
		read(what, 2000, func() error {
			spans, err := reader.Timeline(ctx, "i", "p", history.Range{From: from, To: now}, time.Time{}, 1000)
			if err != nil {
				return err
			}
			last := spans[len(spans)-1]
			if last.Events != renewals || !last.Start.Equal(start) || last.EndedBy != presence.Open || last.ConfirmedSeconds != 2*(renewals-1) {
				t.Errorf("%s: the last span is %+v", what, last)
			}
			return nil
		})
	}
	read("durations", 2000, func() error {
		d, err := reader.Durations(ctx, "i", "p", history.Calendar{
			Range: history.Range{From: now.AddDate(0, 0, -1), To: now}, Bucket: history.Hour, Zone: time.UTC,
		})
		if err == nil && d.Total.InChat.Seconds != 86400 {
			t.Errorf("in chat for %f s", d.Total.InChat.Seconds)
		}
		return err
	})
}

// TestRunBegunByTimeout: a status that a timeout brought, and events renewed since, began with the timeout.
func TestRunBegunByTimeout(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	start := at("2026-03-10T00:00:00Z")
	events := []presence.Event{{InstanceID: "i", Phone: "p", Status: presence.Composing, ReceivedAt: start}}
	for n := range 30 {
		events = append(events, presence.Event{
			InstanceID: "i", Phone: "p", Status: presence.Paused, ReceivedAt: start.Add(time.Minute).Add(time.Duration(n) * 2 * time.Minute),
		})
	}
	store(t, pool, events)
	now := start.Add(time.Hour)
	w := &world{pool: pool}
	w.refresh(t, now)
	reader := history.NewReader(pool, func() time.Time { return now })
	for _, from := range []time.Time{start.Add(-time.Hour), start.Add(40 * time.Second), start.Add(30 * time.Minute), now.Add(-time.Second)} {
		spans, err := reader.Timeline(t.Context(), "i", "p", history.Range{From: from, To: now}, time.Time{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		last := spans[len(spans)-1]
		if !last.Start.Equal(start.Add(25*time.Second)) || last.Status != presence.Paused || last.Events != 30 || last.ConfirmedSeconds != 58*60 {
			t.Errorf("from %s: the last span is %+v", from, last)
		}
	}
}
