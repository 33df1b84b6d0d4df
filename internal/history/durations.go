package history

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Sums is the durations of a range of time and of its buckets.
type Sums struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Bucket  Bucket            `json:"bucket" enum:"none,hour,day,week,month"`
	TZ      string            `json:"tz"`
	Total   presence.Summary  `json:"total"`
	Buckets []presence.Bucket `json:"buckets" doc:"The buckets of the range, oldest first, including empty ones; an empty list for bucket none"`
}

// Durations sums up the typing, recording and visits of a contact, or for an empty phone of all contacts of an instance.
func (r *Reader) Durations(ctx context.Context, instanceID, phone string, over Calendar) (Sums, error) {
	of, err := r.subject(ctx, instanceID, phone)
	if err != nil {
		return Sums{}, err
	}
	bounds, err := over.bounds(MaxBuckets)
	if err != nil {
		return Sums{}, err
	}
	buckets, err := r.sum(ctx, of, bounds, true)
	if err != nil {
		return Sums{}, err
	}
	s := Sums{
		From: over.From.UTC(), To: over.To.UTC(), Bucket: over.Bucket, TZ: over.Zone.String(),
		Total: summary(total(buckets)), Buckets: []presence.Bucket{},
	}
	if over.Bucket != NoBucket {
		for i, b := range buckets {
			s.Buckets = append(s.Buckets, presence.Bucket{Start: bounds[i], End: bounds[i+1], Summary: summary(b)})
		}
	}
	return s, nil
}

// subject selects a contact, or all contacts of an instance.
type subject struct {
	instance int32 // all contacts of it, if contact is 0
	contact  int32
}

// subject finds a contact, or for an empty phone an instance.
func (r *Reader) subject(ctx context.Context, instanceID, phone string) (of subject, err error) {
	if phone == "" {
		of.instance, err = r.instance(ctx, instanceID)
	} else {
		of.contact, err = r.contact(ctx, instanceID, phone)
	}
	return of, err
}

// sum sums up intervals between bounds. The lengths of an instance's intervals are read only if lengths is true.
func (r *Reader) sum(ctx context.Context, of subject, bounds []time.Time, lengths bool) ([]measures, error) {
	if of.contact != 0 {
		sums, err := r.sumContacts(ctx, []int32{of.contact}, bounds)
		return sums[of.contact], err
	}
	buckets := newBuckets(bounds)
	err := r.wide(ctx, func(q *db.Queries) error {
		rows, err := q.SumInstance(ctx, db.SumInstanceParams{
			InstanceID: of.instance, Bounds: times(bounds), Now: postgres.Time(r.now()), WithLengths: lengths,
		})
		for _, row := range rows {
			add(buckets, row)
		}
		return err
	})
	return buckets, err
}

// sumContacts sums up the intervals of contacts, each by itself.
func (r *Reader) sumContacts(ctx context.Context, ids []int32, bounds []time.Time) (map[int32][]measures, error) {
	sums := make(map[int32][]measures, len(ids))
	for _, id := range ids {
		sums[id] = newBuckets(bounds)
	}
	rows, err := r.q.SumContacts(ctx, db.SumContactsParams{
		ContactIds: slices.Sorted(maps.Keys(sums)), Bounds: times(bounds), Now: postgres.Time(r.now()),
		RangeStart: postgres.Time(bounds[0]), RangeEnd: postgres.Time(bounds[len(bounds)-1]),
	})
	for _, row := range rows {
		add(sums[row.ContactID], db.SumInstanceRow{
			Measure: row.Measure, Bucket: row.Bucket, Starts: row.Starts,
			Micros: row.Micros, ConfirmedMicros: row.ConfirmedMicros, Lengths: row.Lengths,
		})
	}
	return sums, err
}

func times(moments []time.Time) []pgtype.Timestamptz {
	out := make([]pgtype.Timestamptz, len(moments))
	for i, m := range moments {
		out[i] = postgres.Time(m)
	}
	return out
}

// wide runs a query over all contacts of an instance. It has a plan of its own and more memory to sort and group: both save
// more than planning costs.
func (r *Reader) wide(ctx context.Context, do func(*db.Queries) error) error {
	return pgx.BeginTxFunc(ctx, r.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := q.PlanForRange(ctx); err != nil {
			return err
		}
		return do(q)
	})
}

// accumulator sums up intervals of one measure in one bucket; all in microseconds.
type accumulator struct {
	inside, confirmed int64   // what lies in the bucket
	starts            int64   // how many intervals start in it
	lengths           []int64 // of those, whole, if asked for
}

type measures map[presence.Measure]*accumulator

func newMeasures() measures {
	return measures{presence.MeasureTyping: {}, presence.MeasureRecording: {}, presence.MeasureInChat: {}}
}

func newBuckets(bounds []time.Time) []measures {
	buckets := make([]measures, len(bounds)-1)
	for i := range buckets {
		buckets[i] = newMeasures()
	}
	return buckets
}

func add(to []measures, row db.SumInstanceRow) {
	a := to[row.Bucket-1][presence.Measure(row.Measure)]
	a.inside += row.Micros
	a.confirmed += row.ConfirmedMicros
	a.starts += row.Starts
	a.lengths = slices.Grow(a.lengths, len(row.Lengths)/8)
	for b := row.Lengths; len(b) >= 8; b = b[8:] {
		a.lengths = append(a.lengths, int64(binary.BigEndian.Uint64(b)))
	}
}

// total adds up the buckets.
func total(buckets []measures) measures {
	if len(buckets) == 1 {
		return buckets[0]
	}
	all := newMeasures()
	for name, sum := range all {
		lengths := make([][]int64, len(buckets))
		for i, b := range buckets {
			sum.inside += b[name].inside
			sum.confirmed += b[name].confirmed
			sum.starts += b[name].starts
			lengths[i] = b[name].lengths
		}
		sum.lengths = slices.Concat(lengths...)
	}
	return all
}

func summary(of measures) presence.Summary {
	return presence.Summary{
		Typing:    of[presence.MeasureTyping].durations(),
		Recording: of[presence.MeasureRecording].durations(),
		InChat:    of[presence.MeasureInChat].durations(),
	}
}

func (a *accumulator) durations() presence.Durations {
	d := presence.Durations{Count: a.starts, Seconds: seconds(float64(a.inside)), ConfirmedSeconds: seconds(float64(a.confirmed))}
	if d.Count == 0 {
		return d
	}
	var sum, longest int64
	for _, length := range a.lengths {
		sum, longest = sum+length, max(longest, length)
	}
	d.MeanSeconds, d.MaxSeconds = new(seconds(float64(sum)/float64(d.Count))), new(seconds(float64(longest)))
	d.MedianSeconds, d.P90Seconds = new(seconds(percentile(a.lengths, 0.5))), new(seconds(percentile(a.lengths, 0.9)))
	return d
}

func seconds(micros float64) float64 { return micros / 1e6 }
