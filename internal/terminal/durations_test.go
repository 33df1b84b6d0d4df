package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// intervals returns the durations of n intervals of the same length.
func intervals(n int64, length float64) presence.Durations {
	if n == 0 {
		return presence.Durations{}
	}
	half, longest := length*0.5, length*3.2
	return presence.Durations{
		Count: n, Seconds: float64(n) * length, ConfirmedSeconds: float64(n) * length * 0.6,
		MeanSeconds: &length, MedianSeconds: &half, P90Seconds: &longest, MaxSeconds: &longest,
	}
}

// buckets makes buckets that begin where step says, and their total.
func buckets(n int, from time.Time, next func(time.Time) time.Time) (total presence.Summary, buckets []presence.Bucket) {
	for i := range n {
		k := presence.Bucket{Start: from, End: next(from)}
		k.Typing = intervals(int64(i*7%5), 95)
		k.Recording = intervals(int64(i*5%3/2), 41.5)
		k.InChat = intervals(int64(i*11%6), 640)
		if k.InChat.Count == 0 {
			k.Typing, k.Recording = presence.Durations{}, presence.Durations{}
		}
		total.Typing.Seconds += k.Typing.Seconds
		total.Typing.Count += k.Typing.Count
		total.Recording.Seconds += k.Recording.Seconds
		total.Recording.Count += k.Recording.Count
		total.InChat.Seconds += k.InChat.Seconds
		total.InChat.Count += k.InChat.Count
		buckets = append(buckets, k)
		from = k.End
	}
	for _, d := range []*presence.Durations{&total.Typing, &total.Recording, &total.InChat} {
		if d.Count > 0 {
			*d = intervals(d.Count, d.Seconds/float64(d.Count))
		}
	}
	return total, buckets
}

func TestDurations(t *testing.T) {
	t.Parallel()
	addDays := func(n int) func(time.Time) time.Time {
		return func(t time.Time) time.Time { return t.AddDate(0, 0, n) }
	}
	start := at("2026-11-16 00:00:00")
	for _, test := range []struct {
		name   string
		n      int
		next   func(time.Time) time.Time
		width  int
		colour bool
	}{
		{"hours_80", 10, func(t time.Time) time.Time { return t.Add(time.Hour) }, 80, false},
		{"days_80", 14, addDays(1), 80, false},
		{"days_120", 14, addDays(1), 120, false},
		{"days_120_colour", 14, addDays(1), 120, true},
		{"weeks_120", 6, addDays(7), 120, false},
		{"months_80", 6, func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }, 80, false},
		{"total_80", 0, nil, 80, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			total, buckets := buckets(test.n, start, test.next)
			bucket, _, _ := strings.Cut(test.name, "s_")
			width := test.width
			if test.colour {
				width = 0
			}
			golden(t, "durations_"+test.name+".txt", Screen{test.width, test.colour}.Durations(total, bucket, buckets, saoPaulo), width)
		})
	}
}

// Numbers of an instance with 100000 contacts keep the columns apart, without room for bars.
func TestDurationsOfManyContacts(t *testing.T) {
	t.Parallel()
	total := presence.Summary{Typing: intervals(12_345_678, 21), Recording: intervals(2_345_678, 33), InChat: intervals(34_567_890, 313)}
	bucket := presence.Bucket{Start: at("2026-11-01 00:00:00"), End: at("2026-12-01 00:00:00"), Summary: total}
	golden(t, "durations_many.txt", Screen{Width: 80}.Durations(total, "month", []presence.Bucket{bucket}, saoPaulo), 90)
}

// A range that is shorter than its bucket cuts it.
func TestBucketLabels(t *testing.T) {
	t.Parallel()
	total, one := buckets(1, at("2026-11-16 00:00:00"), func(t time.Time) time.Time { return t.Add(time.Minute) })
	for bucket, want := range map[string]string{"hour": "Hour ", "day": "Day ", "week": "Week of ", "month": "Month "} {
		if got := (Screen{Width: 80}).Durations(total, bucket, one, saoPaulo); !strings.Contains(got, "\n"+want) {
			t.Errorf("%s: %s", bucket, got)
		}
	}
}

func TestPlainDurations(t *testing.T) {
	t.Parallel()
	from := at("2026-11-16 00:00:00")
	total, buckets := buckets(3, from, func(t time.Time) time.Time { return t.AddDate(0, 0, 1) })
	golden(t, "durations_plain.tsv", PlainDurations(total, buckets, from, buckets[2].End), 0)
}
