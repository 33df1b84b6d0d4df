package history

import (
	"context"
	"errors"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Lanes is a contact's timeline for a drawing with three lanes: visits, typing and recording.
type Lanes struct {
	From    time.Time  `json:"from"`
	To      time.Time  `json:"to"`
	Spans   []LaneSpan `json:"spans" doc:"Spans that overlap the range, not clipped, oldest first; empty if there are columns"`
	Columns *Columns   `json:"columns,omitempty" doc:"Shares of time, only if there are more than 2000 spans"`
	Unknown []Gap      `json:"unknown" doc:"Parts of the range, up to now, without data"`
}

// LaneSpan is a visit or a span of typing or recording. It is confirmed from its start until ConfirmedUntil.
type LaneSpan struct {
	Measure        presence.Measure `json:"measure" enum:"inChat,typing,recording"`
	Start          time.Time        `json:"start"`
	End            *time.Time       `json:"end" doc:"Null while it runs"`
	ConfirmedUntil time.Time        `json:"confirmedUntil"`
	Events         int64            `json:"events"`
	EndedBy        presence.EndedBy `json:"endedBy" enum:"event,timeout,message,gap,open"`
}

// Gap is an interval of time.
type Gap struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Columns cuts a range into equal parts.
type Columns struct {
	InChat    Shares `json:"inChat"`
	Typing    Shares `json:"typing"`
	Recording Shares `json:"recording"`
}

// Shares has the share of time of each part, and the share that is confirmed, from 0 to 1.
type Shares struct {
	Shares          []float64 `json:"shares"`
	ConfirmedShares []float64 `json:"confirmedShares"`
}

// maxLaneSpans is the maximum number of spans in a response. If there are more, it has columns.
const maxLaneSpans = 2000

// Lanes returns what a drawing of the range needs that is columns wide.
func (r *Reader) Lanes(ctx context.Context, instanceID, phone string, in Range, columns int) (Lanes, error) {
	now := r.now()
	out := Lanes{From: in.From, To: in.To, Spans: []LaneSpan{}, Unknown: []Gap{}}
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return out, err
	}
	known := now // if no events are left
	contact, err := r.Contact(ctx, instanceID, phone)
	if _, missing := errors.AsType[*NotFoundError](err); err == nil {
		known = contact.FirstEventAt
	} else if !missing {
		return out, err
	}
	lanes, err := r.laneSpans(ctx, id, in, now)
	if err != nil {
		return out, err
	}
	// Retention may have left intervals that are older than the first event.
	if len(lanes) > 0 {
		known = presence.Earlier(known, lanes[0].Start)
	}
	if until := presence.Earlier(presence.Earlier(known, in.To), now); in.From.Before(until) {
		out.Unknown = append(out.Unknown, Gap{in.From, until})
	}
	if len(lanes) <= maxLaneSpans {
		out.Spans = lanes
		return out, nil
	}
	out.Columns = columnsOf(lanes, in, columns, now)
	return out, nil
}

func (r *Reader) laneSpans(ctx context.Context, id int32, in Range, now time.Time) ([]LaneSpan, error) {
	rows, err := r.q.Lanes(ctx, db.LanesParams{
		ContactID: id, RangeStart: postgres.Time(in.From), RangeEnd: postgres.Time(in.To), Now: postgres.Time(now),
	})
	spans := make([]LaneSpan, len(rows))
	for i, row := range rows {
		spans[i] = LaneSpan{
			Measure: presence.Measure(row.Measure), Start: row.StartedAt.Time.UTC(), End: postgres.TimeOrNil(row.EndedAt),
			ConfirmedUntil: row.ConfirmedUntil.Time.UTC(), Events: row.Events, EndedBy: presence.EndedBy(row.EndedBy),
		}
	}
	return spans, err
}

// Intervals returns a contact's visits and its typing and recording, in order of their start. Some may be older than its first
// event, if intervals are kept longer. The error is a *NotFoundError if there is no such contact.
func (r *Reader) Intervals(ctx context.Context, instanceID, phone string, in Range) ([]LaneSpan, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return nil, err
	}
	return r.laneSpans(ctx, id, in, r.now())
}

// columnsOf sums up spans by equal parts of the range.
func columnsOf(lanes []LaneSpan, in Range, n int, now time.Time) *Columns {
	out := new(Columns)
	shares := map[presence.Measure]*Shares{
		presence.MeasureInChat: &out.InChat, presence.MeasureTyping: &out.Typing, presence.MeasureRecording: &out.Recording,
	}
	for _, s := range shares {
		s.Shares, s.ConfirmedShares = make([]float64, n), make([]float64, n)
	}
	// In seconds from the start; time.Sub is limited to 292 years.
	place := func(at time.Time) float64 {
		return float64(at.Unix()-in.From.Unix()) + float64(at.Nanosecond()-in.From.Nanosecond())/1e9
	}
	width := place(in.To) / float64(n)
	for _, lane := range lanes {
		end := now
		if lane.End != nil {
			end = *lane.End
		}
		s := shares[lane.Measure]
		addTo(s.Shares, place(lane.Start)/width, place(end)/width)
		addTo(s.ConfirmedShares, place(lane.Start)/width, place(lane.ConfirmedUntil)/width)
	}
	return out
}

// addTo adds [from, to), in columns, to what each column has.
func addTo(columns []float64, from, to float64) {
	from, to = max(0, from), min(float64(len(columns)), to)
	for i := int(from); float64(i) < to; i++ {
		columns[i] = min(1, columns[i]+min(to, float64(i+1))-max(from, float64(i)))
	}
}
