package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func moment(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestBucketsFollowTheCalendarOfTheZone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, tz string
		bucket   Bucket
		from, to string
		want     []string // what lies between from and to
	}{
		{"nothing", "UTC", NoBucket, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", nil},
		{"one day", "UTC", Day, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", nil},
		{"cut ends", "UTC", Day, "2026-01-01T23:59:59.999999Z", "2026-01-03T00:00:00.000001Z", []string{"2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"}},
		{"within an hour", "UTC", Hour, "2026-01-01T10:10:00Z", "2026-01-01T10:20:00Z", nil},
		{"weeks begin on Monday", "UTC", Week, "2026-11-20T12:00:00Z", "2026-12-01T00:00:00Z", []string{"2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"}},
		{"from a Sunday", "UTC", Week, "2026-11-22T23:59:59Z", "2026-11-24T00:00:00Z", []string{"2026-11-23T00:00:00Z"}},
		{"from a Monday", "UTC", Week, "2026-11-23T00:00:00Z", "2026-12-01T00:00:00Z", []string{"2026-11-30T00:00:00Z"}},
		{"a week over the year's end", "UTC", Week, "2026-12-30T00:00:00Z", "2027-01-06T00:00:00Z", []string{"2027-01-04T00:00:00Z"}},
		{"ends of months", "UTC", Month, "2024-01-31T00:00:00Z", "2024-05-01T00:00:00Z", []string{"2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"}},
		{"over the year's end", "America/Sao_Paulo", Month, "2025-12-31T00:00:00Z", "2026-02-01T00:00:00Z", []string{"2026-01-01T03:00:00Z"}},
		{"it is another day there", "Asia/Tokyo", Month, "2026-01-31T16:00:00Z", "2026-03-01T00:00:00Z", []string{"2026-02-28T15:00:00Z"}},

		{"São Paulo skips midnight", "America/Sao_Paulo", Day, "2018-11-03T03:00:00Z", "2018-11-05T02:00:00Z", []string{"2018-11-04T03:00:00Z"}},
		{"São Paulo skips an hour", "America/Sao_Paulo", Hour, "2018-11-04T01:30:00Z", "2018-11-04T04:30:00Z", []string{"2018-11-04T02:00:00Z", "2018-11-04T03:00:00Z", "2018-11-04T04:00:00Z"}},
		{"São Paulo repeats the hour before midnight", "America/Sao_Paulo", Day, "2019-02-16T02:00:00Z", "2019-02-18T03:00:00Z", []string{"2019-02-17T03:00:00Z"}},
		{"a month begins where midnight is skipped", "America/Sao_Paulo", Month, "2000-09-15T00:00:00Z", "2000-11-15T00:00:00Z", []string{"2000-10-01T03:00:00Z", "2000-11-01T02:00:00Z"}},
		{"Berlin's day of 23 hours", "Europe/Berlin", Day, "2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z", []string{"2026-03-29T22:00:00Z"}},
		{"Berlin's day of 25 hours", "Europe/Berlin", Day, "2026-10-24T22:00:00Z", "2026-10-26T23:00:00Z", []string{"2026-10-25T23:00:00Z"}},
		{"Kolkata's hours begin at half past", "Asia/Kolkata", Hour, "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z", []string{"2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"}},
		{"Lord Howe skips half an hour", "Australia/Lord_Howe", Hour, "2026-10-03T14:00:00Z", "2026-10-03T17:30:00Z",
			[]string{"2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z"}},
		{"Lord Howe repeats half an hour", "Australia/Lord_Howe", Hour, "2026-04-04T14:30:00Z", "2026-04-04T17:00:00Z",
			[]string{"2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"}},
		{"Lord Howe's day of 23.5 hours", "Australia/Lord_Howe", Day, "2026-10-03T13:30:00Z", "2026-10-05T13:00:00Z", []string{"2026-10-04T13:00:00Z"}},
		{"Apia skips a day", "Pacific/Apia", Day, "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z", []string{"2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"}},
		{"Apia's week of six days", "Pacific/Apia", Week, "2011-12-26T10:00:00Z", "2012-01-08T10:00:00Z", []string{"2012-01-01T10:00:00Z"}},
		{"Kiritimati skips a day", "Pacific/Kiritimati", Day, "1994-12-29T10:00:00Z", "1995-01-02T10:00:00Z", []string{"1994-12-30T10:00:00Z", "1994-12-31T10:00:00Z", "1995-01-01T10:00:00Z"}},
		{"Kiritimati's year ends a day early", "Pacific/Kiritimati", Month, "1994-12-01T10:00:00Z", "1995-01-30T10:00:00Z", []string{"1994-12-31T10:00:00Z"}},
		{"Berlin at the end of a leap year", "Europe/Berlin", Hour, "2040-12-31T20:30:00Z", "2040-12-31T23:30:00Z", []string{"2040-12-31T21:00:00Z", "2040-12-31T22:00:00Z", "2040-12-31T23:00:00Z"}},
		{"Pyongyang skips half an hour at half past", "Asia/Pyongyang", Hour, "2018-05-04T14:00:00Z", "2018-05-04T16:30:00Z", []string{"2018-05-04T14:30:00Z", "2018-05-04T15:00:00Z", "2018-05-04T16:00:00Z"}},
		{"Amman has midnight twice", "Asia/Amman", Day, "2021-10-27T21:00:00Z", "2021-10-29T22:00:00Z", []string{"2021-10-28T21:00:00Z"}},
		{"Havana has midnight twice", "America/Havana", Day, "2026-10-31T04:00:00Z", "2026-11-02T05:00:00Z", []string{"2026-11-01T04:00:00Z"}},
		{"Cairo skips midnight", "Africa/Cairo", Day, "2026-04-22T22:00:00Z", "2026-04-24T21:00:00Z", []string{"2026-04-23T22:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := Calendar{Range{moment(t, test.from), moment(t, test.to)}, test.bucket, zone(t, test.tz)}.bounds(MaxBuckets)
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, b := range got {
				texts = append(texts, b.Format(time.RFC3339Nano))
			}
			if want := slices.Concat([]string{test.from}, test.want, []string{test.to}); !slices.Equal(texts, want) {
				t.Errorf("bounds\n%q, want\n%q", texts, want)
			}
		})
	}
}

func TestDaysHaveTheHoursOfTheClock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tz, from, to string
		hours        int
	}{
		{"Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 25},
		{"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 23},
		{"America/Sao_Paulo", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", 23},
		{"America/Sao_Paulo", "2019-02-16T00:00:00-02:00", "2019-02-17T00:00:00-03:00", 25},
		{"America/Sao_Paulo", "2026-10-25T00:00:00-03:00", "2026-10-26T00:00:00-03:00", 24},
		{"Asia/Kolkata", "2026-10-25T00:00:00+05:30", "2026-10-26T00:00:00+05:30", 24},
	} {
		got, err := Calendar{Range{moment(t, test.from), moment(t, test.to)}, Hour, zone(t, test.tz)}.bounds(MaxBuckets)
		if err != nil {
			t.Fatal(err)
		}
		if len(got)-1 != test.hours {
			t.Errorf("%s from %s to %s: %d hours, want %d: %v", test.tz, test.from, test.to, len(got)-1, test.hours, got)
		}
	}
}

func TestBucketsAreLimited(t *testing.T) {
	t.Parallel()
	from := moment(t, "2026-01-01T00:00:00Z")
	for _, test := range []struct {
		length time.Duration
		err    error
	}{{MaxBuckets * time.Hour, nil}, {MaxBuckets*time.Hour + time.Microsecond, ErrTooManyBuckets}, {290 * 365 * 24 * time.Hour, ErrTooManyBuckets}} {
		got, err := Calendar{Range{from, from.Add(test.length)}, Hour, time.UTC}.bounds(MaxBuckets)
		if !errors.Is(err, test.err) || err == nil && len(got) != MaxBuckets+1 {
			t.Errorf("%s: %d bounds, %v", test.length, len(got), err)
		}
	}
}

// odd zones change their clocks at midnight, by half an hour, by a day, or not at all.
var odd = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/Santiago", "America/Asuncion",
	"America/Caracas", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Amman", "Asia/Beirut", "Asia/Tehran",
	"Asia/Gaza", "Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Africa/Cairo",
	"Africa/Casablanca", "Atlantic/Azores", "Antarctica/Troll", "Europe/Moscow",
}

func TestBucketsAreCalendarUnitsInEveryZone(t *testing.T) {
	t.Parallel()
	seed := pgtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	units := map[Bucket]struct {
		length, most time.Duration
		name         func(time.Time) string
	}{
		Hour: {time.Hour, time.Hour, func(at time.Time) string { return at.Format("2006-01-02 15 -0700") }},
		Day:  {24 * time.Hour, 27 * time.Hour, func(at time.Time) string { return at.Format(time.DateOnly) }},
		Week: {7 * 24 * time.Hour, 7*24*time.Hour + 3*time.Hour, func(at time.Time) string {
			year, week := at.ISOWeek()
			return fmt.Sprint(year, week)
		}},
		Month: {31 * 24 * time.Hour, 31*24*time.Hour + 3*time.Hour, func(at time.Time) string { return at.Format("2006-01") }},
	}
	first := moment(t, "1990-01-01T00:00:00Z").UnixMicro()
	span := moment(t, "2046-01-01T00:00:00Z").UnixMicro() - first
	for range 1000 {
		loc := zone(t, odd[rng.IntN(len(odd))])
		for bucket, unit := range units {
			from := time.UnixMicro(first + rng.Int64N(span)).UTC()
			in := Range{from, from.Add(time.Duration(1+rng.Int64N(int64(unit.length)*40)) / 1000 * 1000).Add(time.Microsecond)}
			got, err := Calendar{in, bucket, loc}.bounds(MaxBuckets)
			if err != nil {
				t.Fatal(err)
			}
			if !got[0].Equal(in.From) || !got[len(got)-1].Equal(in.To) {
				t.Fatalf("%s of %v in %s: from %s to %s", bucket, in, loc, got[0], got[len(got)-1])
			}
			for i, start := range got[:len(got)-1] {
				end := got[i+1]
				last := end.Add(-time.Nanosecond)
				switch {
				case !start.Before(end), end.Sub(start) > unit.most, unit.name(start.In(loc)) != unit.name(last.In(loc)):
					t.Fatalf("%s in %s: %s – %s is none", bucket, loc, start.In(loc), end.In(loc))
				case i+2 < len(got) && unit.name(end.In(loc)) == unit.name(last.In(loc)):
					t.Fatalf("%s in %s is cut at %s", bucket, loc, end.In(loc))
				}
			}
		}
	}
}

// Many machines' files of time zones have an entry there, the last second that 32 bits can count, that changes nothing.
func TestZoneEntriesWithoutChange(t *testing.T) {
	t.Parallel()
	in := Range{moment(t, "2038-01-19T03:00:00Z"), moment(t, "2038-01-19T04:00:00Z")}
	for _, name := range odd {
		got, err := Calendar{in, Hour, zone(t, name)}.bounds(MaxBuckets)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range got[1 : len(got)-1] {
			if at.In(zone(t, name)).Minute() != 0 || at.Second() != 0 {
				t.Errorf("in %s it is cut at %s", name, at)
			}
		}
	}
}

func TestBucketsMatchPostgreSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	in := Range{moment(t, "2009-01-15T12:34:56Z"), moment(t, "2011-06-15T12:34:56Z")}
	for _, tz := range []string{
		"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo",
		"Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Kiritimati", "Europe/Moscow",
	} {
		for _, bucket := range []Bucket{Day, Week, Month} {
			got, err := Calendar{in, bucket, zone(t, tz)}.bounds(MaxBuckets)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := pool.Query(t.Context(), `
				SELECT DISTINCT date_trunc($1, at, $2) AS bound
				FROM generate_series($3::timestamptz, $4::timestamptz, '12 hours') AS at
				WHERE date_trunc($1, at, $2) > $3 ORDER BY bound`, string(bucket), tz, in.From, in.To)
			if err != nil {
				t.Fatal(err)
			}
			want := []time.Time{in.From}
			for rows.Next() {
				var at time.Time
				if err := rows.Scan(&at); err != nil {
					t.Fatal(err)
				}
				want = append(want, at)
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
			if want = append(want, in.To); !slices.EqualFunc(got, want, time.Time.Equal) {
				for i := range min(len(got), len(want)) {
					if !got[i].Equal(want[i]) {
						t.Errorf("%s in %s begins at %s, in PostgreSQL at %s", bucket, tz, got[i], want[i])
						break
					}
				}
				t.Errorf("%s in %s: %d bounds, PostgreSQL has %d", bucket, tz, len(got), len(want))
			}
		}
	}
}
