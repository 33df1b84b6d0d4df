package history

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// Heatmap sums up what an instance's contacts did in each hour of the week in a zone: 168 of them, Monday's first hour first.
func (r *Reader) Heatmap(
	ctx context.Context, instanceID string, measure presence.Measure, in Range, zone *time.Location,
) ([]presence.Heat, error) {
	var micros, confirmed [7 * 24]int64
	cells := make([]presence.Heat, len(micros))
	for i := range cells {
		cells[i].Weekday, cells[i].Hour = i/24+1, i%24
	}
	cellAt := func(at time.Time) int {
		at = at.In(zone)
		return (int(at.Weekday())+6)%7*24 + at.Hour()
	}
	add := func(s stretch, within Range) {
		if s.measure != measure {
			return
		}
		clip := span{within.From.UnixMicro(), within.To.UnixMicro()}
		if s.start >= clip.from && s.start < clip.to {
			cells[cellAt(time.UnixMicro(s.start))].Count++
		}
		for from := max(s.start, clip.from); from < min(s.until, clip.to); {
			at := time.UnixMicro(from).UTC()
			piece := span{from, min(at.Truncate(slot).Add(slot).UnixMicro(), clip.to)}
			cell := cellAt(at)
			micros[cell] += piece.of(s.start, s.until)
			confirmed[cell] += piece.of(s.start, s.confirmedUntil)
			from = piece.to
		}
	}
	err := r.instanceParts(ctx, instanceID, in, add, func(q *db.Queries, id int32, in Range) error {
		rows, err := q.RolledSlots(ctx, id, string(measure), db.Time(in.From), db.Time(in.To))
		for _, row := range rows {
			cell := cellAt(row.Slot.Time)
			micros[cell] += row.Micros
			confirmed[cell] += row.ConfirmedMicros
			cells[cell].Count += row.Starts
		}
		return err
	})
	for i := range cells {
		cells[i].Seconds, cells[i].ConfirmedSeconds = seconds(float64(micros[i])), seconds(float64(confirmed[i]))
	}
	return cells, err
}

// Top returns the contacts of an instance with the most time within a range, or if byCount with the most stretches that
// start there, greatest first, those that are equal in the order of their phones; at most limit, none that has nothing.
func (r *Reader) Top(
	ctx context.Context, instanceID string, measure presence.Measure, byCount bool, in Range, limit int,
) ([]presence.Rank, error) {
	type rank struct {
		contact                  int32
		count, inside, confirmed int64
	}
	var ranks []rank
	places := map[int32]int{}
	rankOf := func(contact int32) *rank {
		place, ok := places[contact]
		if !ok {
			place = len(ranks)
			places[contact], ranks = place, append(ranks, rank{contact: contact})
		}
		return &ranks[place]
	}
	add := func(s stretch, within Range) {
		if s.measure != measure {
			return
		}
		t, k := tally{}, rankOf(s.contact)
		t.add(s, span{within.From.UnixMicro(), within.To.UnixMicro()})
		k.count += int64(len(t.lengths))
		k.inside += t.inside
		k.confirmed += t.confirmed
	}
	err := r.instanceParts(ctx, instanceID, in, add, func(q *db.Queries, id int32, in Range) error {
		rows, err := q.RolledParts(ctx, id, string(measure), db.Time(in.From), db.Time(in.To))
		for _, parts := range rows {
			for p := range partsOf(parts) {
				k := rankOf(p.contact)
				if p.length > 0 { // it starts here
					k.count++
				}
				k.inside += p.inside
				k.confirmed += p.confirmed
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}

	value := func(k rank) int64 {
		if byCount {
			return k.count
		}
		return k.inside
	}
	ranks = slices.DeleteFunc(ranks, func(k rank) bool { return value(k) == 0 })
	slices.SortFunc(ranks, func(a, b rank) int { return cmp.Compare(value(b), value(a)) })
	// Phones decide among those that are equal to the last one.
	end := min(limit, len(ranks))
	for end > 0 && end < len(ranks) && value(ranks[end]) == value(ranks[end-1]) {
		end++
	}
	ranks = ranks[:end]
	ids := make([]int32, len(ranks))
	for i, k := range ranks {
		ids[i] = k.contact
	}
	rows, err := r.q.PhonesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	phones := make(map[int32]string, len(rows))
	for _, row := range rows {
		phones[row.ID] = row.Phone
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(value(b), value(a)), strings.Compare(phones[a.contact], phones[b.contact]))
	})
	list := make([]presence.Rank, min(limit, len(ranks)))
	for i := range list {
		k := ranks[i]
		list[i] = presence.Rank{
			Phone: phones[k.contact], Count: k.count,
			Seconds: seconds(float64(k.inside)), ConfirmedSeconds: seconds(float64(k.confirmed)),
		}
	}
	return list, nil
}
