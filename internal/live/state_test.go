package live

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var timeouts = presence.Timeouts{Typing: 3 * time.Second, Recording: 7 * time.Second, Presence: 10 * time.Second}

func setTimeouts(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for name, value := range map[string]time.Duration{
		"typing_timeout": timeouts.Typing, "recording_timeout": timeouts.Recording, "presence_timeout": timeouts.Presence,
	} {
		if err := settings.Set(t.Context(), pool, "", name, value.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// randomHistories returns events of contacts from start on: silences around the timeouts and at their very moments,
// renewals, ties.
func randomHistories(rng *rand.Rand, contacts int, start time.Time) [][]presence.Event {
	gaps := []time.Duration{
		0, time.Microsecond, time.Second, timeouts.Typing, timeouts.Recording, timeouts.Presence,
		timeouts.Typing + timeouts.Presence, timeouts.Recording + timeouts.Presence,
	}
	all := make([][]presence.Event, contacts)
	for i := range all {
		at := start
		for n := rng.IntN(12); n >= 0; n-- {
			at = at.Add(gaps[rng.IntN(len(gaps))] + time.Duration(rng.IntN(3)-1)*time.Microsecond*time.Duration(rng.IntN(2)))
			if len(all[i]) > 0 {
				if last := all[i][len(all[i])-1].ReceivedAt; at.Before(last) {
					at = last
				}
			}
			all[i] = append(all[i], presence.Event{
				InstanceID: "i", Phone: fmt.Sprint(i), Status: presence.Statuses()[rng.IntN(5)], ReceivedAt: at,
			})
		}
	}
	return all
}

// inSQL returns what the database says about a contact at a moment.
func inSQL(t *testing.T, pool *pgxpool.Pool, phone string, now time.Time) (status presence.Status, since time.Time) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `
		SELECT s.status, s.started_at FROM contacts AS c, spans(c.id, 'infinity', 'infinity', $2) AS s WHERE c.phone = $1`,
		phone, now).Scan(&status, &since)
	if err != nil {
		t.Fatal(err)
	}
	return status, since
}

// TestStatusMatchesSQL compares the rules here with those in the database on random histories, at random moments after
// the last event and at the very moments of timeouts.
func TestStatusMatchesSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	setTimeouts(t, pool)
	rng := pgtest.Rand(t)
	histories := randomHistories(rng, 200, time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC))
	store := ingest.NewStore(pool)
	if _, err := store.Merge(t.Context(), slices.Concat(histories...)); err != nil {
		t.Fatal(err)
	}
	for i, history := range histories {
		var c contact
		for seq, e := range history {
			c.add(event{e.Status, e.ReceivedAt, int16(seq)}, timeouts)
			if c.since.IsZero() { // a tie, after which the hub asks the database
				_, c.since = inSQLUpTo(t, pool, fmt.Sprint(i), e.ReceivedAt)
			}
		}
		moments := []time.Time{c.last.at, c.last.at.Add(time.Duration(rng.IntN(20_000_000)) * time.Microsecond)}
		pauses, leaves := c.last.timeouts(timeouts)
		for _, at := range []time.Time{pauses, leaves} {
			if !at.IsZero() {
				moments = append(moments, at.Add(-time.Microsecond), at, at.Add(time.Microsecond))
			}
		}
		for _, at := range moments {
			status, since, next := c.status(at, timeouts)
			wantStatus, wantSince := inSQL(t, pool, fmt.Sprint(i), at)
			if status != wantStatus || !since.Equal(wantSince) {
				t.Fatalf("%v\nat %s: %s since %s, SQL says %s since %s", history, at, status, since, wantStatus, wantSince)
			}
			if !next.IsZero() {
				before, _ := inSQL(t, pool, fmt.Sprint(i), next.Add(-time.Microsecond))
				after, _ := inSQL(t, pool, fmt.Sprint(i), next)
				if before != status || after == status {
					t.Fatalf("%v\nat %s: it changes at %s; SQL says %s until then and %s from then on", history, at, next, before, after)
				}
			}
		}
	}
}

// inSQLUpTo asks as of the moment of an event, whatever has come later.
func inSQLUpTo(t *testing.T, pool *pgxpool.Pool, phone string, moment time.Time) (status presence.Status, since time.Time) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `
		SELECT s.status, s.started_at
		FROM contacts AS c, spans(c.id, $2::timestamptz, $2::timestamptz + interval '1 microsecond', 'infinity') AS s
		WHERE c.phone = $1 AND s.started_at <= $2`, phone, moment).Scan(&status, &since)
	if err != nil {
		t.Fatal(err)
	}
	return status, since
}

// TestHubAgreesWithSQL sends events to a hub in any order, some twice, and compares its last messages with the database.
func TestHubAgreesWithSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	setTimeouts(t, pool)
	rng := pgtest.Rand(t)
	start := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	now := start.Add(30 * time.Second)
	events := slices.Concat(randomHistories(rng, 300, start)...)
	events = slices.DeleteFunc(events, func(e presence.Event) bool { return e.ReceivedAt.After(now) })
	ordered, err := ingest.AssignSequence(events)
	if err != nil {
		t.Fatal(err)
	}
	events = ordered.Events
	rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

	h := New(pool, slog.New(slog.NewTextHandler(t.Output(), nil)), func() time.Time { return now })
	t.Cleanup(h.Close)
	client := h.Subscribe(Filter{}, "")
	defer client.Close()
	<-client.Ready
	sent := map[string]State{}
	store := ingest.NewStore(pool)
	for len(events) > 0 {
		n := min(1+rng.IntN(200), len(events))
		if err := store.Write(t.Context(), events[:n]); err != nil {
			t.Fatal(err)
		}
		h.Durable(events[:n])
		if rng.IntN(2) == 0 {
			h.Durable(events[:n])
		}
		events = events[n:]
	}
	type is struct {
		Phone  string
		Status presence.Status
		Since  time.Time
	}
	compared := 0
	for deadline := time.Now().Add(pgtest.Timeout); ; {
		messages, err := client.Take()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			sent[m.Phone] = m.State
		}
		rows, err := pool.Query(t.Context(), `
			SELECT c.phone, s.status, s.started_at FROM contacts AS c, spans(c.id, 'infinity', 'infinity', $1) AS s`, now)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[is])
		if err != nil {
			t.Fatal(err)
		}
		compared = len(all)
		wrong := ""
		for _, want := range all {
			got := sent[want.Phone]
			if got.Status == 0 && want.Status == presence.Unavailable {
				continue // as it was before, for all the hub knows
			}
			if got.Status != want.Status || !got.Since.Equal(want.Since) {
				wrong = fmt.Sprintf("%s: sent %s since %s, SQL says %s since %s", want.Phone, got.Status, got.Since, want.Status, want.Since)
			}
		}
		if wrong == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if compared < 200 {
		t.Fatalf("only %d contacts were compared", compared)
	}
}
