package app_test

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// example is the one of the documentation: typing that nobody ends, then a sign of life, then silence.
const example = `{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","lastSeen":null,"instanceId":"i","receivedAt":"2026-10-01T10:00:00Z"}
{"type":"PresenceChatCallback","phone":"5544999999999","status":"COMPOSING","lastSeen":null,"instanceId":"i","receivedAt":"2026-10-01T10:00:10Z"}
{"type":"PresenceChatCallback","phone":"5544999999999","status":"AVAILABLE","lastSeen":null,"instanceId":"i","receivedAt":"2026-10-01T10:02:00Z"}
`

// TestReadAPIExamples runs tests that read the example beside each other on one service.
func TestReadAPIExamples(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, example)
	for name, test := range map[string]func(*testing.T, *service){
		"TimelineOfExample":        testTimelineOfExample,
		"BucketsAddUpToTotal":      testBucketsAddUpToTotal,
		"IntervalsAreCutAtBuckets": testIntervalsAreCutAtBuckets,
		"BadParameters":            testBadParameters,
		"ThousandBuckets":          testThousandBuckets,
		"MomentsOfAnyOffset":       testMomentsOfAnyOffset,
		"UnknownContactOrInstance": testUnknownContactOrInstance,
		"ExampleAsCSV":             testExampleAsCSV,
		"FormatAndAccept":          testFormatAndAccept,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func testTimelineOfExample(t *testing.T, s *service) {
	path := contactPath("i", "5544999999999")
	want := []presence.Span{
		{Status: presence.Composing, Start: at("2026-10-01T10:00:00Z"), End: new(at("2026-10-01T10:00:35Z")), Seconds: 35, ConfirmedSeconds: 10, Events: 2, EndedBy: presence.ByTimeout},
		{Status: presence.Paused, Start: at("2026-10-01T10:00:35Z"), End: new(at("2026-10-01T10:02:00Z")), Seconds: 85, EndedBy: presence.ByEvent},
		{Status: presence.Available, Start: at("2026-10-01T10:02:00Z"), End: new(at("2026-10-01T10:07:00Z")), Seconds: 300, Events: 1, EndedBy: presence.ByTimeout},
		{Status: presence.Unavailable, Start: at("2026-10-01T10:07:00Z"), EndedBy: presence.Open},
	}
	for _, test := range []struct {
		from, to string
		want     []presence.Span
	}{
		{"2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", want},
		{"2026-10-01T10:00:34.999999Z", "2026-10-01T10:00:35.000001Z", want[:2]},
		{"2026-10-01T10:00:35Z", "2026-10-01T10:02:00Z", want[1:2]}, // [from, to)
		{"2026-10-01T10:07:00Z", "2026-10-01T10:07:00.000001Z", want[3:]},
		{"2026-09-30T10:00:00Z", "2026-10-01T10:00:00Z", nil},
	} {
		var got timeline
		before := presence.Now()
		s.get(t, path+"/timeline?from="+test.from+"&to="+test.to, &got)
		after := presence.Now()
		if got.Spans == nil || len(got.Spans) != len(test.want) {
			t.Errorf("%s – %s: %+v, want %+v", test.from, test.to, got.Spans, test.want)
			continue
		}
		for i, span := range got.Spans {
			w := test.want[i]
			if w.End == nil { // it runs, and is as long as it has run
				if d := span.Start.Add(time.Duration(span.Seconds * 1e9)); d.Before(before.Add(-time.Millisecond)) || d.After(after.Add(time.Millisecond)) {
					t.Errorf("the open span is %f s long", span.Seconds)
				}
				w.Seconds = span.Seconds
			}
			if flat(span) != flat(w) {
				t.Errorf("%s – %s: span %d is %s, want %s", test.from, test.to, i, flat(span), flat(w))
			}
		}
	}
}

func flat(s presence.Span) string {
	end := "now"
	if s.End != nil {
		end = s.End.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s %s – %s, %g s, %g s confirmed, %d events, %s", s.Status, s.Start.Format(time.RFC3339Nano), end,
		s.Seconds, s.ConfirmedSeconds, s.Events, s.EndedBy)
}

func testBucketsAddUpToTotal(t *testing.T, s *service) {
	one := func(seconds, confirmed float64) presence.Durations {
		return presence.Durations{Count: 1, Seconds: seconds, ConfirmedSeconds: confirmed, MeanSeconds: &seconds,
			MedianSeconds: &seconds, P90Seconds: &seconds, MaxSeconds: &seconds}
	}
	want := presence.Summary{Typing: one(35, 10), InChat: one(420, 120)}
	for _, test := range []struct {
		bucket, tz string
		from, to   string
		buckets    int
	}{
		{"hour", "UTC", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 24},
		{"hour", "Asia/Kolkata", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 25},        // cut at :30
		{"hour", "Australia/Lord_Howe", "2026-10-01T00:00:00Z", "2026-10-05T00:00:00Z", 97}, // :30, then :00,
		{"day", "UTC", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 1},
		{"day", "America/Sao_Paulo", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 2},
		{"day", "Pacific/Kiritimati", "2026-10-01T09:59:00Z", "2026-10-01T10:09:00Z", 2}, // midnight there is 10:00 UTC
		{"day", "Pacific/Honolulu", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 2},   // and here
		{"week", "Europe/Berlin", "2026-09-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00", 9},
		{"month", "America/Sao_Paulo", "2026-01-01T00:00:00-03:00", "2027-01-01T00:00:00-03:00", 12},
		{"none", "Asia/Kathmandu", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", 0},
	} {
		query := url.Values{"from": {test.from}, "to": {test.to}, "bucket": {test.bucket}, "tz": {test.tz}}.Encode()
		for _, path := range []string{contactPath("i", "5544999999999"), "/v1/instances/i"} {
			var got durations
			s.get(t, path+"/durations?"+query, &got)
			name := path + " " + query
			if show(got.Total) != show(want) {
				t.Errorf("%s: total %s, want %s", name, show(got.Total), show(want))
			}
			if !got.From.Equal(at(test.from)) || !got.To.Equal(at(test.to)) || got.Bucket != test.bucket || got.TZ != test.tz ||
				len(got.Buckets) != test.buckets {
				t.Errorf("%s: %s – %s, %s, %s, %d buckets", name, got.From, got.To, got.Bucket, got.TZ, len(got.Buckets))
			}
			addUp(t, name, got)
		}
	}
}

func testIntervalsAreCutAtBuckets(t *testing.T, s *service) {
	var got durations
	s.get(t, contactPath("i", "5544999999999")+"/durations?bucket=hour&from=2026-10-01T10:00:20Z&to=2026-10-01T11:00:00.5Z", &got)
	nothing := presence.Durations{}
	if d := got.Total.Typing; d.Count != 0 || d.Seconds != 15 || d.ConfirmedSeconds != 0 || d.MeanSeconds != nil || d.MaxSeconds != nil {
		t.Errorf("what began before the range counts by its time inside only: %s", show(presence.Summary{Typing: d}))
	}
	if d := got.Total.InChat; d.Count != 0 || d.Seconds != 400 || d.ConfirmedSeconds != 100 {
		t.Errorf("in chat: %s", show(presence.Summary{InChat: d}))
	}
	if len(got.Buckets) != 2 || !got.Buckets[0].Start.Equal(got.From) || !got.Buckets[1].End.Equal(got.To) ||
		!got.Buckets[1].Start.Equal(at("2026-10-01T11:00:00Z")) || got.Buckets[1].InChat != nothing {
		t.Errorf("buckets %+v", got.Buckets)
	}
	addUp(t, "cut", got)
}

// addUp checks that buckets lie side by side and add up to the total.
func addUp(t testing.TB, name string, d durations) {
	t.Helper()
	if len(d.Buckets) == 0 {
		return
	}
	of := func(s presence.Summary) [9]float64 {
		return [9]float64{
			float64(s.Typing.Count), s.Typing.Seconds, s.Typing.ConfirmedSeconds,
			float64(s.Recording.Count), s.Recording.Seconds, s.Recording.ConfirmedSeconds,
			float64(s.InChat.Count), s.InChat.Seconds, s.InChat.ConfirmedSeconds,
		}
	}
	end, sum := d.From, [9]float64{}
	for i, b := range d.Buckets {
		if !b.Start.Equal(end) || !b.End.After(b.Start) {
			t.Errorf("%s: bucket %d is %s – %s, after one that ends at %s", name, i, b.Start, b.End, end)
		}
		end = b.End
		for j, v := range of(b.Summary) {
			sum[j] += v
		}
	}
	if !end.Equal(d.To) {
		t.Errorf("%s: the last bucket ends at %s", name, end)
	}
	for j, v := range of(d.Total) {
		if math.Abs(v-sum[j]) > 1e-6 {
			t.Errorf("%s: the buckets add up to %v, the total is %v", name, sum, of(d.Total))
			return
		}
	}
}

func show(s presence.Summary) string {
	var b strings.Builder
	for _, d := range []presence.Durations{s.Typing, s.Recording, s.InChat} {
		fmt.Fprintf(&b, "[%d in %g s, %g s confirmed", d.Count, d.Seconds, d.ConfirmedSeconds)
		for _, v := range []*float64{d.MeanSeconds, d.MedianSeconds, d.P90Seconds, d.MaxSeconds} {
			if v == nil {
				b.WriteString(" null")
			} else {
				fmt.Fprintf(&b, " %g", *v)
			}
		}
		b.WriteString("] ")
	}
	return b.String()
}
