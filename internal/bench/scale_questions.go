package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

func (m *scaled) timelines(ctx context.Context) error {
	m.tell("timelines")
	for _, days := range []int{1, 30} {
		var took latencies
		for round := range 2 { // the first one warms up
			for i, phone := range m.panel {
				to := m.to.AddDate(0, 0, -i%(m.Days-days))
				began := time.Now()
				_, err := m.reader.Timeline(ctx, scaleInstance, phone, history.Range{From: to.AddDate(0, 0, -days), To: to}, time.Time{}, 1000)
				if err != nil {
					return err
				}
				if round > 0 {
					took.record(time.Since(began))
				}
			}
		}
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p50", days), "ms", took.quantile(0.5))
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p99", days), "ms", took.quantile(0.99))
	}
	return nil
}

func (m *scaled) typingNow(ctx context.Context) error {
	ask := history.ContactsQuery{InstanceID: scaleInstance, Statuses: []presence.Status{presence.Composing}, Limit: 1000}
	return m.time("who is typing now", func() error {
		_, err := m.reader.Contacts(ctx, ask)
		return err
	})
}

// time records how long a query takes.
func (m *scaled) time(name string, ask func() error) error {
	took, err := timed(repetitions, ask)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.figure(name, "ms", took)
	return nil
}

// month is the range of the queries over all contacts.
func (m *scaled) month() history.Range { return history.Range{From: m.to.AddDate(0, 0, -30), To: m.to} }

// rawHours computes the typing time of all contacts in each hour since 1970, by a window function. Days and hours of the week
// follow from it.
func (m *scaled) rawHours(ctx context.Context) error {
	m.tell("typing by hour, by a window over the events")
	var err error
	m.rawHoursTook, err = timed(rawRepetitions, func() error {
		rows, err := db.New(m.pool).RawTypingByHour(ctx, db.RawTypingByHourParams{RangeEnd: postgres.Time(m.month().To), RangeStart: postgres.Time(m.month().From)})
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
	first, last := m.month().From.Unix()/86400, m.month().To.Add(-1).Unix()/86400
	raw := make([]float64, last-first+1)
	for hour, seconds := range m.typingHours {
		raw[hour/24-first] += seconds
	}
	return m.against("typing of all contacts per day, 30 days", m.rawHoursTook, raw, func() (seconds []float64, err error) {
		d, err := m.reader.Durations(ctx, scaleInstance, "", history.Calendar{Range: m.month(), Bucket: history.Day, Zone: time.UTC})
		for _, b := range d.Buckets {
			seconds = append(seconds, b.Typing.Seconds)
		}
		return seconds, err
	})
}

func (m *scaled) heatmap(ctx context.Context) error {
	m.tell("heat map")
	raw := make([]float64, 168)
	for hour, seconds := range m.typingHours {
		at := time.Unix(hour*3600, 0).UTC()
		raw[(int(at.Weekday())+6)%7*24+at.Hour()] += seconds
	}
	return m.against("heat map of typing, 30 days", m.rawHoursTook, raw, func() (seconds []float64, err error) {
		heat, err := m.reader.Heatmap(ctx, scaleInstance, "", presence.MeasureTyping, m.month(), time.UTC)
		for _, c := range heat.Cells {
			seconds = append(seconds, c.Seconds)
		}
		return seconds, err
	})
}

func (m *scaled) top(ctx context.Context) error {
	m.tell("top contacts")
	var raw []float64
	took, err := timed(rawRepetitions, func() error {
		rows, err := db.New(m.pool).RawTypingByContact(ctx, db.RawTypingByContactParams{
			RangeEnd: postgres.Time(m.month().To), RangeStart: postgres.Time(m.month().From), MaxRows: topContacts,
		})
		raw = raw[:0]
		for _, row := range rows {
			raw = append(raw, float64(row.Micros)/1e6)
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.against("top 100 by typing, 30 days", took, raw, func() (seconds []float64, err error) {
		top, err := m.reader.Top(ctx, scaleInstance, history.By(presence.MeasureTyping), m.month(), topContacts)
		for _, r := range top.Contacts {
			seconds = append(seconds, r.Seconds)
		}
		return seconds, err
	})
}

// against records how long the service and a window function over the events take, in milliseconds. Both results must be the
// same.
func (m *scaled) against(name string, rawTook float64, raw []float64, service func() ([]float64, error)) error {
	var computed []float64
	took, err := timed(repetitions, func() (err error) {
		computed, err = service()
		return err
	})
	if err != nil {
		return err
	}
	m.figure(name, "ms", took)
	m.figure("— by a window over the events", "ms", rawTook)
	m.figure("— how many times as long that is", "", rawTook/took)
	if !slices.EqualFunc(computed, raw, func(a, b float64) bool { return a-b < 1e-3 && b-a < 1e-3 }) {
		return fmt.Errorf("the results differ: %v, and by the window function %v", computed, raw)
	}
	return nil
}

// timed returns the median duration of a function, in milliseconds, after a warm-up run. If that takes more than a minute, it
// is the result.
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
