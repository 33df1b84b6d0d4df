package history

import (
	"context"
	"slices"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// Sums is the durations of a range of time and of its parts.
type Sums struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Bucket  Bucket            `json:"bucket" enum:"none,hour,day,week,month"`
	TZ      string            `json:"tz"`
	Total   presence.Summary  `json:"total"`
	Buckets []presence.Bucket `json:"buckets" doc:"The parts of the range, in order, also the empty ones; none for bucket none"`
}

// ContactDurations sums up a contact's typing, recording and visits.
func (r *Reader) ContactDurations(ctx context.Context, instanceID, phone string, over Calendar) (Sums, error) {
	id, err := r.contact(ctx, instanceID, phone)
	if err != nil {
		return Sums{}, err
	}
	t, err := newTallies(over)
	if err != nil {
		return Sums{}, err
	}
	rows, err := r.q.ContactStretches(ctx, id, db.Time(over.From), db.Time(over.To), db.Time(r.now()))
	if err != nil {
		return Sums{}, err
	}
	for _, row := range rows {
		t.add(stretchOf(db.InstanceStretchesRow{
			Measure: row.Measure, StartedAt: row.StartedAt, Until: row.Until, ConfirmedUntil: row.ConfirmedUntil,
		}), over.Range)
	}
	return t.sums(over), nil
}

// InstanceDurations is ContactDurations over all contacts of an instance.
func (r *Reader) InstanceDurations(ctx context.Context, instanceID string, over Calendar) (Sums, error) {
	t, err := newTallies(over)
	if err != nil {
		return Sums{}, err
	}
	err = r.instanceParts(ctx, instanceID, over.Range, t.add, func(q *db.Queries, id int32, in Range) error {
		rows, err := q.RolledSums(ctx, id, db.Time(in.From), db.Time(in.To))
		t.addRolled(rows)
		return err
	})
	if err != nil {
		return Sums{}, err
	}
	return t.sums(over), nil
}

// tallies sums up stretches in the buckets of a calendar.
type tallies struct {
	bounds  []int64 // of the buckets, µs since 1970
	buckets []map[presence.Measure]*tally
}

// tally sums up stretches of one measure; all in microseconds.
type tally struct {
	inside, confirmed int64
	lengths           []int64 // of the whole stretches that start here
}

func newTallies(over Calendar) (*tallies, error) {
	bounds, err := over.bounds()
	if err != nil {
		return nil, err
	}
	t := &tallies{}
	for i, b := range bounds {
		t.bounds = append(t.bounds, b.UnixMicro())
		if i > 0 {
			t.buckets = append(t.buckets, newMeasures())
		}
	}
	return t, nil
}

func newMeasures() map[presence.Measure]*tally {
	return map[presence.Measure]*tally{presence.MeasureTyping: {}, presence.MeasureRecording: {}, presence.MeasureInChat: {}}
}

// add adds the part of a stretch that lies within a range.
func (t *tallies) add(s stretch, within Range) {
	clip := span{max(within.From.UnixMicro(), t.bounds[0]), min(within.To.UnixMicro(), t.bounds[len(t.bounds)-1])}
	last := min(max(s.until-1, s.start), clip.to-1) // one that starts now has no length yet
	for i := bucketOf(t.bounds, max(s.start, clip.from)); i < len(t.buckets) && t.bounds[i] <= last; i++ {
		t.buckets[i][s.measure].add(s, span{max(clip.from, t.bounds[i]), min(clip.to, t.bounds[i+1])})
	}
}

// addRolled adds what lies in slots, which no bound of a bucket cuts.
func (t *tallies) addRolled(rows []db.RolledSumsRow) {
	tallyOf := func(row db.RolledSumsRow) *tally {
		return t.buckets[bucketOf(t.bounds, row.Slot.Time.UnixMicro())][presence.Measure(row.Measure)]
	}
	starts := map[*tally]int{}
	for _, row := range rows {
		starts[tallyOf(row)] += int(row.Starts)
	}
	for sum, n := range starts { // there may be millions
		sum.lengths = slices.Grow(sum.lengths, n)
	}
	for _, row := range rows {
		sum := tallyOf(row)
		sum.inside += row.Micros
		sum.confirmed += row.ConfirmedMicros
		for p := range partsOf(row.Parts) {
			if p.length > 0 { // it starts here
				sum.lengths = append(sum.lengths, p.length)
			}
		}
	}
}

func (t *tally) add(s stretch, clip span) {
	t.inside += clip.of(s.start, s.until)
	t.confirmed += clip.of(s.start, s.confirmedUntil)
	if s.start >= clip.from && s.start < clip.to {
		t.lengths = append(t.lengths, s.until-s.start)
	}
}

func (t *tallies) sums(over Calendar) Sums {
	d := Sums{
		From: over.From.UTC(), To: over.To.UTC(), Bucket: over.Bucket, TZ: over.Zone.String(),
		Total: summary(t.total()), Buckets: []presence.Bucket{},
	}
	if over.Bucket == NoBucket {
		return d
	}
	for i, bucket := range t.buckets {
		d.Buckets = append(d.Buckets, presence.Bucket{
			Start: time.UnixMicro(t.bounds[i]).UTC(), End: time.UnixMicro(t.bounds[i+1]).UTC(), Summary: summary(bucket),
		})
	}
	return d
}

// total adds up the buckets.
func (t *tallies) total() map[presence.Measure]*tally {
	if len(t.buckets) == 1 {
		return t.buckets[0]
	}
	total := newMeasures()
	for measure, sum := range total {
		lengths := make([][]int64, len(t.buckets))
		for i, bucket := range t.buckets {
			sum.inside += bucket[measure].inside
			sum.confirmed += bucket[measure].confirmed
			lengths[i] = bucket[measure].lengths
		}
		sum.lengths = slices.Concat(lengths...)
	}
	return total
}

func summary(of map[presence.Measure]*tally) presence.Summary {
	return presence.Summary{
		Typing:    of[presence.MeasureTyping].durations(),
		Recording: of[presence.MeasureRecording].durations(),
		InChat:    of[presence.MeasureInChat].durations(),
	}
}

func (t *tally) durations() presence.Durations {
	d := presence.Durations{
		Count: int64(len(t.lengths)), Seconds: seconds(float64(t.inside)), ConfirmedSeconds: seconds(float64(t.confirmed)),
	}
	if d.Count == 0 {
		return d
	}
	var sum, longest int64
	for _, length := range t.lengths {
		sum, longest = sum+length, max(longest, length)
	}
	mean, most := seconds(float64(sum)/float64(d.Count)), seconds(float64(longest))
	median, p90 := seconds(percentile(t.lengths, 0.5)), seconds(percentile(t.lengths, 0.9))
	d.MeanSeconds, d.MedianSeconds, d.P90Seconds, d.MaxSeconds = &mean, &median, &p90, &most
	return d
}

func seconds(micros float64) float64 { return micros / 1e6 }

// bucketOf returns the index of the last bound at or before a moment. The first bound must be.
func bucketOf(bounds []int64, moment int64) int {
	i, found := slices.BinarySearch(bounds, moment)
	if found {
		return i
	}
	return i - 1
}

// span is a range of time in microseconds since 1970: [from, to).
type span struct{ from, to int64 }

// of returns how much of [start, end) lies in it.
func (s span) of(start, end int64) int64 {
	return max(0, min(end, s.to)-max(start, s.from))
}
