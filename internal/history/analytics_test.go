package history_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

var zones = []string{"UTC", "America/Sao_Paulo", "Asia/Kathmandu", "Europe/Berlin"}

// person is what the model knows of a contact.
type person struct {
	instance, phone string
	events          []presence.Event
	spans, visits   []modelSpan
}

// analytics compares the views with the model, all in one transaction, for which now() stands still.
type analytics struct {
	*testing.T
	tx      pgx.Tx
	now     time.Time
	windows [][2]time.Time // when something happened
	people  []person
}

// TestAnalyticsMatchModel generates histories of the last days and of those around a change of the clocks in Berlin, and
// compares the views with the model while no intervals are stored, all, and some no longer count.
func TestAnalyticsMatchModel(t *testing.T) {
	t.Parallel()
	seed := pgtest.Seed(t)
	pool := pgtest.New(t)
	now := presence.Now()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	change, _ := now.Add(-5 * 24 * time.Hour).In(berlin).ZoneBounds()
	w := &world{rng: rand.New(rand.NewPCG(seed, 0))}
	timeouts := map[string]presence.Timeouts{
		"i": {Typing: 25 * time.Second, Recording: 25 * time.Second, Presence: 5 * time.Minute},
		"j": {Typing: 20 * time.Minute, Recording: 25 * time.Second, Presence: 40 * time.Minute},
	}
	a := &analytics{T: t, windows: [][2]time.Time{
		{change.Add(-40 * time.Hour).UTC(), change.Add(40 * time.Hour).UTC()}, {now.Add(-80 * time.Hour), now.Add(time.Hour)},
	}}
	var all []presence.Event
	for k := range 12 {
		p := person{instance: []string{"i", "i", "j"}[k%3], phone: fmt.Sprintf("5544%02d", k)}
		for _, end := range []time.Time{change.Add(36 * time.Hour).UTC(), now} {
			w.now = end
			for _, e := range w.history(p.phone) {
				if e.InstanceID = p.instance; !e.ReceivedAt.After(end) {
					p.events = append(p.events, e)
				}
			}
		}
		if k == 0 { // one is there for days, so that its visit is not finished
			for at := now.Add(-30 * time.Hour); at.Before(now); at = at.Add(4 * time.Minute) {
				p.events = append(p.events, presence.Event{InstanceID: p.instance, Phone: p.phone, Status: presence.Available, ReceivedAt: at})
			}
		}
		// Some are still there, in the order of time even if it comes from two histories.
		p.events = append(p.events, presence.Event{InstanceID: p.instance, Phone: p.phone, Status: presence.Statuses()[k%5], ReceivedAt: now})
		slices.SortStableFunc(p.events, func(a, b presence.Event) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
		a.people = append(a.people, p)
		all = append(all, p.events...)
	}
	store(t, pool, all)
	for name, value := range map[string]time.Duration{"typing_timeout": 20 * time.Minute, "presence_timeout": 40 * time.Minute} {
		if err := settings.Set(t.Context(), pool, "j", name, value.String()); err != nil {
			t.Fatal(err)
		}
	}
	compare := func(state string, everything bool) {
		t.Helper()
		err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
			a.tx = tx
			if err := tx.QueryRow(t.Context(), "SELECT now()").Scan(&a.now); err != nil {
				return err
			}
			a.now = a.now.UTC()
			for i := range a.people {
				p := &a.people[i]
				p.spans = modelSpans(p.events, timeouts[p.instance], a.now)
				p.visits = modelVisits(p.spans)
			}
			if everything {
				a.compareSpans()
				a.compareContacts()
			}
			a.compareSums(state)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	compare("nothing stored", true)
	if err := intervals.Refresh(t.Context(), pool, presence.Now, 0); err != nil {
		t.Fatal(err)
	}
	compare("all stored", true)
	// Intervals after a checkpoint no longer count, whatever they say.
	pgtest.Exec(t, pool, `SELECT mark_late(array_agg(id), array_agg(now() - ($1::bigint + id * 997) % 4800 * interval '1 min')) FROM contacts WHERE id % 3 = 0`,
		w.rng.Int64N(4800))
	pgtest.Exec(t, pool, `UPDATE intervals AS i SET ended_at = i.ended_at + '1 h', events = 7
		FROM contact_states AS s WHERE s.contact_id = i.contact_id AND i.started_at > s.checkpoint`)
	compare("some late", true)
}

// same compares two sets of lines.
func (a *analytics) same(what string, got, want []string) {
	a.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	var diff []string
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			diff = append(diff, "got  "+g, "want "+w)
		}
	}
	a.Errorf("%s: %d rows, want %d\n%s", what, len(got), len(want), strings.Join(diff[:min(len(diff), 12)], "\n"))
}

// lines gives each row as one line.
func (a *analytics) lines(sql string, args ...any) (lines []string) {
	a.Helper()
	rows, err := a.tx.Query(context.Background(), sql, args...)
	if err != nil {
		a.Fatal(sql, err)
	}
	lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		a.Fatal(sql, err)
	}
	return lines
}

const micros = "2006-01-02 15:04:05.000000"

func (a *analytics) compareSpans() {
	a.Helper()
	const columns = `concat_ws(' ', instance_id, phone, to_char(started_at, 'YYYY-MM-DD HH24:MI:SS.US'),
		coalesce(to_char(ended_at, 'YYYY-MM-DD HH24:MI:SS.US'), '-'), seconds, confirmed_seconds, events, ended_by`
	line := func(p person, s modelSpan) string {
		end := s.end.Format(micros)
		if s.endedBy == presence.Open {
			end = "-"
		}
		return fmt.Sprintf("%s %s %s %s %.6f %.6f %d %s", p.instance, p.phone, s.start.Format(micros), end,
			s.seconds(), s.confirmedSeconds, s.events, s.endedBy)
	}
	from, to := a.windows[1][0].Add(10*time.Hour), a.windows[1][0].Add(60*time.Hour)
	want := map[string][]string{}
	add := func(view string, p person, s modelSpan, status string) {
		want[view] = append(want[view], line(p, s)+status)
		if !s.start.Before(from) && s.start.Before(to) {
			want[view+"($1, $2)"] = append(want[view+"($1, $2)"], line(p, s)+status)
		}
	}
	for _, p := range a.people {
		for _, s := range p.spans {
			add("spans", p, s, " "+s.status.String())
			switch s.status {
			case presence.Composing:
				add("typing", p, s, "")
				add("intervals", p, s, "")
			case presence.Recording:
				add("recording", p, s, "")
				add("intervals", p, s, "")
			}
		}
		for _, v := range p.visits {
			add("visits", p, v, "")
			add("intervals", p, v, "")
		}
	}
	for _, view := range []string{"typing", "recording", "visits", "intervals"} {
		a.same(view, a.lines("SELECT "+columns+") FROM analytics."+view), want[view])
	}
	a.same("spans", a.lines("SELECT "+columns+", status) FROM analytics.spans"), want["spans"])
	a.same("spans()", a.lines("SELECT "+columns+", status) FROM analytics.spans($1, $2)", from, to), want["spans($1, $2)"])
	a.same("visits()", a.lines("SELECT "+columns+") FROM analytics.visits($1, $2)", from, to), want["visits($1, $2)"])
}

func (a *analytics) compareContacts() {
	a.Helper()
	var contacts, status, events []string
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for _, p := range a.people {
		from, to := p.events[0].ReceivedAt, p.events[len(p.events)-1].ReceivedAt
		if f, ok := first[p.instance]; !ok || from.Before(f) {
			first[p.instance] = from
		}
		if to.After(last[p.instance]) {
			last[p.instance] = to
		}
		contacts = append(contacts, fmt.Sprintf("%s %s %s %s", p.instance, p.phone, from.Format(micros), to.Format(micros)))
		s := p.spans[len(p.spans)-1]
		status = append(status, fmt.Sprintf("%s %s %s %s", p.instance, p.phone, s.status, s.start.Format(micros)))
		var seq int16
		for i, e := range p.events {
			if seq++; i == 0 || !p.events[i-1].ReceivedAt.Equal(e.ReceivedAt) {
				seq = 0
			}
			events = append(events, fmt.Sprintf("%s %s %s %s %s", p.instance, p.phone, e.ReceivedAt.Format(micros), e.Status,
				presence.EventID(e.ReceivedAt, seq)))
		}
	}
	var instances []string
	for name := range first {
		instances = append(instances, fmt.Sprintf("%s UTC %s %s", name, first[name].Format(micros), last[name].Format(micros)))
	}
	const moments = "to_char(first_event_at, 'YYYY-MM-DD HH24:MI:SS.US'), to_char(last_event_at, 'YYYY-MM-DD HH24:MI:SS.US'))"
	a.same("instances", a.lines("SELECT concat_ws(' ', instance_id, time_zone, "+moments+" FROM analytics.instances"), instances)
	a.same("contacts", a.lines("SELECT concat_ws(' ', instance_id, phone, "+moments+" FROM analytics.contacts"), contacts)
	const now = "SELECT concat_ws(' ', instance_id, phone, status, to_char(since, 'YYYY-MM-DD HH24:MI:SS.US')) FROM analytics.current_status"
	a.same("current_status", a.lines(now), slices.Clone(status))
	for _, s := range presence.Statuses() {
		want := slices.DeleteFunc(slices.Clone(status), func(line string) bool { return !strings.Contains(line, " "+s.String()+" ") })
		a.same("current_status "+s.String(), a.lines(now+" WHERE status = '"+s.String()+"'"), want)
	}
	a.same("events", a.lines(`
		SELECT concat_ws(' ', instance_id, phone, to_char(received_at, 'YYYY-MM-DD HH24:MI:SS.US'), status, event_id)
		FROM analytics.events`), events)
}

// summed is what hourly and daily tell of a contact or an instance.
type summed [3]presence.Durations

func (s *summed) add(p person, from, to time.Time) {
	for i, of := range [][]modelSpan{only(p.spans, presence.Composing), only(p.spans, presence.Recording), p.visits} {
		d := modelDurations(of, from, to)
		s[i].Seconds += d.Seconds
		s[i].ConfirmedSeconds += d.ConfirmedSeconds
		s[i].Count += d.Count
	}
}

func (s *summed) String() (line string) {
	for _, d := range s {
		line += fmt.Sprintf(" %.6f %.6f %d", d.Seconds, d.ConfirmedSeconds, d.Count)
	}
	return line
}

// sums gives the lines of a view by contact and by instance: of each part of time, those that did something in it.
func (a *analytics) sums(bounds []time.Time, label func(time.Time) string) (byContact, byInstance []string) {
	for i := range len(bounds) - 1 {
		instances := map[string]*summed{}
		for _, p := range a.people {
			var s summed
			if s.add(p, bounds[i], bounds[i+1]); s == (summed{}) {
				continue
			}
			byContact = append(byContact, p.instance+" "+p.phone+" "+label(bounds[i])+s.String())
			if instances[p.instance] == nil {
				instances[p.instance] = &summed{}
			}
			instances[p.instance].add(p, bounds[i], bounds[i+1])
		}
		for _, name := range slices.Collect(maps.Keys(instances)) {
			byInstance = append(byInstance, name+" "+label(bounds[i])+instances[name].String())
		}
	}
	return byContact, byInstance
}

func (a *analytics) compareSums(state string) {
	a.Helper()
	const columns = `typing_seconds, typing_confirmed_seconds, typing_count,
		recording_seconds, recording_confirmed_seconds, recording_count,
		in_chat_seconds, in_chat_confirmed_seconds, visit_count)`
	for _, window := range a.windows {
		from, until := window[0].Truncate(time.Hour), a.now
		if window[1].Before(until) {
			until = window[1]
		}
		bounds := []time.Time{from}
		for h := from; h.Before(until); {
			h = h.Add(time.Hour)
			bounds = append(bounds, h)
		}
		byContact, byInstance := a.sums(bounds, func(at time.Time) string { return at.Format("2006-01-02T15") })
		const hour = "to_char(hour, 'YYYY-MM-DD\"T\"HH24'), "
		const between = " WHERE hour >= $1 AND hour < $2"
		a.same(state+": hourly",
			a.lines("SELECT concat_ws(' ', instance_id, phone, "+hour+columns+" FROM analytics.hourly"+between, from, until), byContact)
		a.same(state+": instance_hourly",
			a.lines("SELECT concat_ws(' ', instance_id, "+hour+columns+" FROM analytics.instance_hourly"+between, from, until), byInstance)

		for _, name := range zones {
			zone, err := time.LoadLocation(name)
			if err != nil {
				a.Fatal(err)
			}
			year, month, day := window[0].In(zone).Date()
			bounds := []time.Time{time.Date(year, month, day, 0, 0, 0, 0, zone)}
			for i := 1; !bounds[i-1].After(until); i++ {
				bounds = append(bounds, time.Date(year, month, day+i, 0, 0, 0, 0, zone))
			}
			date := func(at time.Time) string { return at.Format(time.DateOnly) }
			firstDay, lastDay := date(bounds[0]), date(bounds[len(bounds)-2])
			byContact, byInstance := a.sums(bounds, date)
			if _, err := a.tx.Exec(context.Background(), "UPDATE instances SET time_zone = $1", name); err != nil {
				a.Fatal(err)
			}
			state := state + ", " + name
			const row = "SELECT concat_ws(' ', instance_id, phone, day, " + columns
			const between = " WHERE day BETWEEN $1::text::date AND $2::text::date"
			a.same(state+": daily", a.lines(row+" FROM analytics.daily"+between, firstDay, lastDay), slices.Clone(byContact))
			a.same(state+": instance_daily",
				a.lines("SELECT concat_ws(' ', instance_id, day, "+columns+" FROM analytics.instance_daily"+between, firstDay, lastDay), byInstance)
			if _, err := a.tx.Exec(context.Background(), "UPDATE instances SET time_zone = NULL"); err != nil {
				a.Fatal(err)
			}
			a.same(state+": daily()",
				a.lines(row+" FROM analytics.daily($3, $1::text::date, $2::text::date)", firstDay, lastDay, name), slices.Clone(byContact))
			p := a.people[len(state)%len(a.people)]
			of := slices.DeleteFunc(byContact, func(line string) bool { return !strings.HasPrefix(line, p.instance+" "+p.phone+" ") })
			a.same(state+": daily() of "+p.phone, a.lines(row+" FROM analytics.daily($3, $1::text::date, $2::text::date, $4, $5)",
				firstDay, lastDay, name, p.instance, p.phone), of)
		}
	}
}

func TestDaysFollowTheCalendar(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, test := range []struct{ day, zone, want, why string }{
		{"2026-11-01", "America/Havana", "2026-11-01T04:00:00Z", "midnight comes twice"},
		{"2021-10-29", "Asia/Amman", "2021-10-28T21:00:00Z", "midnight comes twice"},
		{"2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00Z", "midnight is skipped"},
		{"2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z", "midnight is skipped"},
		{"2026-09-06", "America/Santiago", "2026-09-06T04:00:00Z", "midnight is skipped"},
		{"2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z", "the whole day is skipped"},
		{"2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z", "the day after that"},
		{"2026-10-05", "Australia/Lord_Howe", "2026-10-04T13:00:00Z", "after a day of 23.5 hours"},
		{"2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z", "a day of 25 hours"},
	} {
		got := pgtest.Get[time.Time](t, pool, "SELECT day_start($1::text::date, $2)", test.day, test.zone)
		if !got.Equal(at(test.want)) {
			t.Errorf("%s in %s, %s: %s, want %s", test.day, test.zone, test.why, got.UTC(), test.want)
		}
		loc, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		// The dates of a range are the same days.
		if got, err = history.ParseMoment("from", test.day, time.Time{}, loc); err != nil || !got.Equal(at(test.want)) {
			t.Errorf("a range from %s in %s, %s: %s, %v, want %s", test.day, test.zone, test.why, got, err, test.want)
		}
	}
}
