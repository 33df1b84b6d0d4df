package app_test

import (
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/settings"
)

// Dates are days of the instance's time zone, or of tz, and a range may be given by its length.
func TestRangesOfDates(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.load(t, record("i", "p", "COMPOSING", at("2026-10-01T01:00:00Z"))+record("j", "p", "COMPOSING", at("2026-10-01T01:00:00Z")))
	if err := settings.Set(t.Context(), s.pool, "i", "time_zone", "America/Sao_Paulo"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]struct{ tz, from, to string }{
		"/i/durations?from=2026-10-01&to=2026-10-02":                             {"America/Sao_Paulo", "2026-10-01T03:00:00Z", "2026-10-02T03:00:00Z"},
		"/j/durations?from=2026-10-01&to=2026-10-02":                             {"UTC", "2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z"},
		"/i/durations?from=2026-10-01&to=2026-10-02&tz=Asia/Kolkata":             {"Asia/Kolkata", "2026-09-30T18:30:00Z", "2026-10-01T18:30:00Z"},
		"/i/contacts/p/durations?to=2026-10-08&last=7d":                          {"America/Sao_Paulo", "2026-10-01T03:00:00Z", "2026-10-08T03:00:00Z"},
		"/i/contacts/p/durations?to=2026-10-08T00:00:00Z&last=90m&tz=UTC":        {"UTC", "2026-10-07T22:30:00Z", "2026-10-08T00:00:00Z"},
		"/i/contacts/p/durations?from=2026-10-01T00:00:00+02:00&to=2026-10-02":   {"America/Sao_Paulo", "2026-09-30T22:00:00Z", "2026-10-02T03:00:00Z"},
		"/i/contacts/p/durations?from=2026-10-01T00:00:00%2B02:00&to=2026-10-02": {"America/Sao_Paulo", "2026-09-30T22:00:00Z", "2026-10-02T03:00:00Z"},
		// Santiago skips midnight, and Havana has it twice.
		"/i/durations?from=2026-09-06&to=2026-09-07&tz=America/Santiago": {"America/Santiago", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		"/i/durations?from=2026-10-31&to=2026-11-01&tz=America/Havana":   {"America/Havana", "2026-10-31T04:00:00Z", "2026-11-01T04:00:00Z"},
	} {
		var d durations
		s.get(t, "/v1/instances"+query, &d)
		if d.TZ != want.tz || !d.From.Equal(at(want.from)) || !d.To.Equal(at(want.to)) {
			t.Errorf("%s: %s from %s to %s, want %+v", query, d.TZ, d.From, d.To, want)
		}
	}
	// In Sao Paulo it was still the day before.
	var e events
	for query, want := range map[string]int{"from=2026-10-01&to=2026-10-02": 0, "from=2026-09-30&to=2026-10-01": 1} {
		s.get(t, "/v1/instances/i/contacts/p/events?"+query, &e)
		if len(e.Events) != want {
			t.Errorf("%s: %+v", query, e)
		}
	}
	// All pages have the range of the first.
	now := time.Now()
	for i := range 5 {
		s.load(t, record("i", "q", "AVAILABLE", now.Add(-time.Duration(i)*time.Hour)))
	}
	seen, cursor := 0, ""
	for {
		var page events
		s.get(t, "/v1/instances/i/contacts/q/events?last=150m&limit=1"+cursor, &page)
		seen += len(page.Events)
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	if seen != 3 {
		t.Errorf("%d events in the last 150 minutes, want 3", seen)
	}
}
