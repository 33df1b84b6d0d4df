package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

func (m *scaled) timelines(ctx context.Context) error {
	m.tell("timelines")
	contacts, err := m.reader.Contacts(ctx, history.ContactsQuery{
		InstanceID: scaleInstance, Search: panelPhone(""), Limit: panelContacts,
	})
	if err != nil {
		return err
	}
	for _, days := range []int{1, 30} {
		var took []float64
		for round := range 2 { // the first one warms up
			for i, k := range contacts {
				to := m.to.AddDate(0, 0, -i%(m.Days-days))
				began := time.Now()
				_, err := m.reader.Timeline(ctx, scaleInstance, k.Phone, history.Range{From: to.AddDate(0, 0, -days), To: to}, time.Time{}, 1000)
				if err != nil {
					return err
				}
				if round > 0 {
					took = append(took, time.Since(began).Seconds()*1000)
				}
			}
		}
		slices.Sort(took)
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p50", days), "ms", took[len(took)/2])
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p99", days), "ms", took[len(took)*99/100])
	}
	return nil
}

func (m *scaled) typingNow(ctx context.Context) error {
	ask := history.ContactsQuery{InstanceID: scaleInstance, Statuses: []presence.Status{presence.Composing}, Limit: 1000}
	took, err := timed(repetitions, func() error {
		_, err := m.reader.Contacts(ctx, ask)
		return err
	})
	m.figure("who is typing now", "ms", took)
	return err
}

// month is the range of the questions about all contacts.
func (m *scaled) month() history.Range { return history.Range{From: m.to.AddDate(0, 0, -30), To: m.to} }

// rawHours asks the window function for the time that all contacts typed in each hour since 1970. Days and hours of the week
// are made of the same answer.
func (m *scaled) rawHours(ctx context.Context) error {
	m.tell("typing by hour, by a window over the events")
	var err error
	m.rawHoursTook, err = timed(rawRepetitions, func() error {
		rows, err := db.New(m.pool).RawTypingByHour(ctx, db.Time(m.month().To), db.Time(m.month().From))
		m.typingHours = make(map[int64]float64, len(rows))
		for _, row := range rows {
			m.typingHours[row.Hour] = float64(row.Micros) / 1e6
		}
		return err
	})
	return err
}

func (m *scaled) durations(ctx context.Context) error {
	m.tell("typing per day")
	var rolled []float64
	took, err := timed(repetitions, func() error {
		d, err := m.reader.InstanceDurations(ctx, scaleInstance, history.Calendar{Range: m.month(), Bucket: history.Day, Zone: time.UTC})
		rolled = rolled[:0]
		for _, b := range d.Buckets {
			rolled = append(rolled, b.Typing.Seconds)
		}
		return err
	})
	if err != nil {
		return err
	}
	raw := make([]float64, len(rolled))
	first := m.month().From.Unix() / 86400
	for hour, seconds := range m.typingHours {
		raw[hour/24-first] += seconds
	}
	m.against("typing of all contacts per day, 30 days", took, m.rawHoursTook)
	return same(rolled, raw)
}

func (m *scaled) heatmap(ctx context.Context) error {
	m.tell("heat map")
	raw, rolled := make([]float64, 168), make([]float64, 168)
	took, err := timed(repetitions, func() error {
		cells, err := m.reader.Heatmap(ctx, scaleInstance, presence.MeasureTyping, m.month(), time.UTC)
		for i, c := range cells {
			rolled[i] = c.Seconds
		}
		return err
	})
	if err != nil {
		return err
	}
	for hour, seconds := range m.typingHours {
		at := time.Unix(hour*3600, 0).UTC()
		raw[(int(at.Weekday())+6)%7*24+at.Hour()] += seconds
	}
	m.against("heat map of typing, 30 days", took, m.rawHoursTook)
	return same(rolled, raw)
}

func (m *scaled) top(ctx context.Context) error {
	m.tell("top contacts")
	var raw, rolled []float64
	took, err := timed(repetitions, func() error {
		ranks, err := m.reader.Top(ctx, scaleInstance, presence.MeasureTyping, false, m.month(), topContacts)
		rolled = rolled[:0]
		for _, r := range ranks {
			rolled = append(rolled, r.Seconds)
		}
		return err
	})
	if err != nil {
		return err
	}
	rawTook, err := timed(rawRepetitions, func() error {
		rows, err := db.New(m.pool).RawTypingByContact(ctx, db.Time(m.month().To), db.Time(m.month().From), topContacts)
		raw = raw[:0]
		for _, row := range rows {
			raw = append(raw, float64(row.Micros)/1e6)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.against("top 100 by typing, 30 days", took, rawTook)
	return same(rolled, raw)
}

// against notes how long the service took for an answer, and how long a window function over the events took, in
// milliseconds.
func (m *scaled) against(name string, service, raw float64) {
	m.figure(name, "ms", service)
	m.figure("— by a window over the events", "ms", raw)
	m.figure("— how many times as long that is", "", raw/service)
}

// timed returns the median of how long something takes, in milliseconds, after a first time that does not count; once that
// has taken a minute it counts, and is the only one.
func timed(times int, do func() error) (ms float64, err error) {
	var took []float64
	for i := range times + 1 {
		began := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		ms := time.Since(began).Seconds() * 1000
		if i > 0 {
			took = append(took, ms)
		} else if ms > 60_000 {
			return ms, nil
		}
	}
	return median(took, func(x float64) float64 { return x }), nil
}

func same(a, b []float64) error {
	if !slices.EqualFunc(a, b, func(a, b float64) bool { return a-b < 1e-3 && b-a < 1e-3 }) {
		return fmt.Errorf("the answers differ: %v and by the window function %v", a, b)
	}
	return nil
}
