package app_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/settings"
)

type nowPage struct {
	Contacts   []history.NowContact
	Counts     map[string]int
	Instances  []string
	NextCursor *string
}

// nowPages reads all pages of a list of Now.
func (s *service) nowPages(t *testing.T, query url.Values, limit int) (all []history.NowContact, counts map[string]int) {
	t.Helper()
	query.Set("limit", fmt.Sprint(limit))
	query.Del("cursor")
	for {
		var page nowPage
		s.get(t, "/v1/now?"+query.Encode(), &page)
		all, counts = append(all, page.Contacts...), page.Counts
		if page.NextCursor == nil {
			return all, counts
		}
		if len(page.Contacts) != limit {
			t.Fatalf("%v: a page of %d that is not the last", query, len(page.Contacts))
		}
		query.Set("cursor", *page.NextCursor)
	}
}

// What Now lists is what the lists of contacts of each instance say, in every order, for every filter, in pages of any size.
func TestNowMatchesListsOfContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, timeout := range []string{"typing_timeout", "recording_timeout", "presence_timeout"} {
		if err := settings.Set(t.Context(), s.pool, "", timeout, "30m"); err != nil {
			t.Fatal(err)
		}
	}
	rng := pgtest.Rand(t)
	now := time.Now().UTC().Truncate(time.Second)
	var lines strings.Builder
	for _, instance := range []string{"a", "b"} {
		for c := range 40 {
			for range 1 + rng.IntN(4) {
				at := now.Add(-time.Duration(rng.IntN(3)) * time.Second) // nothing runs out while the test reads
				if rng.IntN(3) > 0 {
					at = now.Add(-time.Duration(1+rng.IntN(48)) * time.Hour) // many at the same moment
				}
				status := presence.Statuses()[rng.IntN(5)]
				lines.WriteString(record(instance, fmt.Sprintf("55%02d", c), status.String(), at))
			}
		}
	}
	s.load(t, lines.String())
	if err := intervals.Refresh(t.Context(), s.pool, presence.Now, 0); err != nil { // so that most who have left are read from their states
		t.Fatal(err)
	}
	type key struct{ instance, phone string }
	statuses := map[key]presence.Contact{}
	for _, instance := range []string{"a", "b"} {
		var list contacts
		s.get(t, "/v1/instances/"+instance+"/contacts?limit=1000", &list)
		for _, c := range list.Contacts {
			statuses[key{instance, c.Phone}] = c
		}
	}
	if len(statuses) != 80 {
		t.Fatalf("there are %d contacts", len(statuses))
	}
	for _, sort := range []string{"activity", "since", "recent", "phone"} {
		for _, filter := range []url.Values{{}, {"instance": {"b"}}, {"search": {"1"}}, {"status": {"UNAVAILABLE"}}, {"status": {"AVAILABLE,PAUSED,COMPOSING"}, "instance": {"a"}}} {
			filter.Set("sort", sort)
			all, counts := s.nowPages(t, filter, 1000)
			listed := func(status presence.Status) bool {
				return !filter.Has("status") || slices.Contains(strings.Split(filter.Get("status"), ","), status.String())
			}
			seen := map[key]bool{}
			for i, c := range all {
				want, ok := statuses[key{c.InstanceID, c.Phone}]
				if !ok || seen[key{c.InstanceID, c.Phone}] || !c.LastEventAt.Equal(want.LastEventAt) || c.Status != want.Status || !c.Since.Equal(want.Since) {
					t.Fatalf("%v: %+v, want %+v", filter, c, want)
				}
				if !listed(c.Status) {
					t.Errorf("%v: %+v", filter, c)
				}
				seen[key{c.InstanceID, c.Phone}] = true
				if i > 0 && !inOrder(sort, all[i-1], c) {
					t.Errorf("%v: %+v comes before %+v", filter, all[i-1], c)
				}
			}
			wantListed, wantCounts := 0, map[string]int{} // which count all statuses
			for k, c := range statuses {
				if filter.Has("instance") && filter.Get("instance") != k.instance || !strings.Contains(k.phone, filter.Get("search")) {
					continue
				}
				wantCounts[c.Status.String()]++
				if listed(c.Status) {
					wantListed++
				}
			}
			maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
			if len(all) != wantListed || !maps.Equal(counts, wantCounts) {
				t.Errorf("%v: %d contacts, counted as %v; want %d and %v", filter, len(all), counts, wantListed, wantCounts)
			}
			for _, limit := range []int{7, 30} {
				pages, _ := s.nowPages(t, filter, limit)
				same := slices.EqualFunc(pages, all, func(a, b history.NowContact) bool { return a.InstanceID == b.InstanceID && a.Phone == b.Phone })
				if !same {
					t.Errorf("%v: pages of %d give %d contacts of %d, or in another order", filter, limit, len(pages), len(all))
				}
			}
		}
	}
	refused(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/now?instance=c", nil)), http.StatusNotFound)
	refusedFor(t, s.do(t, request(t, http.MethodGet, s.url+"/v1/now?sort=age", nil)), http.StatusUnprocessableEntity, "query.sort")
}

func inOrder(sort string, a, b history.NowContact) bool {
	rank := map[presence.Status]int{presence.Composing: 0, presence.Recording: 1, presence.Available: 2, presence.Paused: 2, presence.Unavailable: 3}
	switch name := a.Phone < b.Phone || a.Phone == b.Phone && a.InstanceID < b.InstanceID; sort {
	case "phone":
		return name
	case "recent":
		return a.LastEventAt.After(b.LastEventAt) || a.LastEventAt.Equal(b.LastEventAt) && name
	case "since":
		return a.Since.After(b.Since) || a.Since.Equal(b.Since) && name
	default:
		return rank[a.Status] < rank[b.Status] || rank[a.Status] == rank[b.Status] && (a.Since.After(b.Since) || a.Since.Equal(b.Since) && name)
	}
}

// Lanes are the visits, typing and recording that durations sum up; where there are too many, their shares of columns.
func TestLanesMatchDurations(t *testing.T) {
	t.Parallel()
	s := start(t)
	begin := at("2026-10-01T00:00:00Z")
	rng := pgtest.Rand(t)
	var lines strings.Builder
	for moment, n := begin, 0; n < 5000; n++ {
		lines.WriteString(record("i", "1", presence.Statuses()[rng.IntN(5)].String(), moment))
		moment = moment.Add(time.Duration(1+rng.ExpFloat64()*60) * time.Second)
	}
	s.load(t, lines.String())
	for _, c := range []struct {
		from, to string
		columns  bool
	}{
		{"2026-10-01T00:00:00Z", "2026-10-01T06:00:00Z", false},
		{"2026-10-01T03:00:07Z", "2026-10-01T03:00:09Z", false},
		{"2026-09-30T00:00:00Z", "2026-10-05T00:00:00Z", true},
	} {
		query := "?from=" + c.from + "&to=" + c.to
		var lanes history.Lanes
		s.get(t, contactPath("i", "1")+"/lanes"+query+"&columns=500", &lanes)
		var sums durations
		s.get(t, contactPath("i", "1")+"/durations"+query, &sums)
		if (lanes.Columns != nil) != c.columns {
			t.Fatalf("%s to %s: %d spans, columns: %t", c.from, c.to, len(lanes.Spans), lanes.Columns != nil)
		}
		from, to := at(c.from), at(c.to)
		got := map[presence.Measure][2]float64{}
		for _, span := range lanes.Spans {
			end := *span.End
			sum := got[span.Measure]
			sum[0] += max(0, earlier(end, to).Sub(later(span.Start, from)).Seconds())
			sum[1] += max(0, earlier(span.ConfirmedUntil, to).Sub(later(span.Start, from)).Seconds())
			got[span.Measure] = sum
		}
		if lanes.Columns != nil {
			width := to.Sub(from).Seconds() / 500
			for measure, shares := range map[presence.Measure]history.Shares{
				presence.MeasureInChat: lanes.Columns.InChat, presence.MeasureTyping: lanes.Columns.Typing, presence.MeasureRecording: lanes.Columns.Recording,
			} {
				for i := range shares.Shares {
					if shares.Shares[i] > 1 || shares.ConfirmedShares[i] > shares.Shares[i]+1e-9 {
						t.Errorf("%s column %d: %g, of that %g confirmed", measure, i, shares.Shares[i], shares.ConfirmedShares[i])
					}
					sum := got[measure]
					got[measure] = [2]float64{sum[0] + shares.Shares[i]*width, sum[1] + shares.ConfirmedShares[i]*width}
				}
			}
			if len(lanes.Unknown) != 1 || !lanes.Unknown[0].Start.Equal(from) || !lanes.Unknown[0].End.Equal(begin) {
				t.Errorf("unknown is %v", lanes.Unknown)
			}
		}
		for measure, want := range map[presence.Measure]presence.Durations{
			presence.MeasureInChat: sums.Total.InChat, presence.MeasureTyping: sums.Total.Typing, presence.MeasureRecording: sums.Total.Recording,
		} {
			if math.Abs(got[measure][0]-want.Seconds) > 1e-3 || math.Abs(got[measure][1]-want.ConfirmedSeconds) > 1e-3 {
				t.Errorf("%s to %s, %s: %v, durations say %g and %g", c.from, c.to, measure, got[measure], want.Seconds, want.ConfirmedSeconds)
			}
		}
	}
}

func earlier(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }

func later(a, b time.Time) time.Time { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }

func TestStatusCountsWhatArrivesAndWhatIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "1", "COMPOSING"))
	s.post(t, body("i", "1", "SLEEPING"))
	s.post(t, `{"type":"ReceivedCallback"}`)
	var got struct {
		DatabaseUp bool
		Version    string
		Events     struct{ Received, Queued int }
		Ignored    int
		Refusals   []struct {
			Reason   string
			Instance string
			Count    int
			LastAt   time.Time
		}
		Instances                         []presence.Instance
		StartedAt, Now, Spool, Background any
		WebhookToken, Restricted          bool
	}
	s.get(t, "/v1/status", &got)
	if !got.DatabaseUp || got.Version != "v1.2.3" || got.Events.Received != 1 || got.Ignored != 1 || len(got.Instances) != 1 || got.WebhookToken {
		t.Errorf("%+v", got)
	}
	if len(got.Refusals) != 1 || got.Refusals[0].Reason != "invalid_field" || got.Refusals[0].Count != 1 || time.Since(got.Refusals[0].LastAt) > time.Minute {
		t.Errorf("refusals: %+v", got.Refusals)
	}
}
