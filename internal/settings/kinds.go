package settings

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
	_ "time/tzdata" // time zones must not depend on the machine
)

// kind is how values are read from what people write, and shown. A value itself is what the database takes and gives: a
// length of time in seconds, or a name.
type kind struct {
	parse func(text string) (value string, err error)
	Show  func(value string) string
	JSON  func(value string) any
}

var (
	timeout = kind{parseTimeout, showLength, secondsOrNil}
	kept    = kind{parseKept, showKept, secondsOrNil}
	zone    = kind{parseZone, func(name string) string { return name }, func(name string) any { return name }}
)

const (
	day     = 24 * time.Hour
	maxKept = 100 * 365 * day
	// forever is a value, and not NULL, because an instance for which the database has NULL has the default.
	forever = "31536000000" // 365000 days
)

func parseTimeout(text string) (string, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 24*time.Hour {
		return "", fmt.Errorf("%q; it may be from 1s to 24h", text)
	}
	return stored(d), nil
}

var calendar = regexp.MustCompile(`^([0-9]{1,6})([dwy])$`)

func parseKept(text string) (string, error) {
	if text == "forever" {
		return forever, nil
	}
	d, err := time.ParseDuration(text)
	if m := calendar.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		days := n * map[string]int{"d": 1, "w": 7, "y": 365}[m[2]]
		d, err = time.Duration(min(days, 100_000))*day, nil // more than is allowed, and no overflow
	}
	if err != nil || d < day || d > maxKept {
		return "", fmt.Errorf("%q; it may be from 1d to 100y, for example 90d, 12w or 720h, or forever", text)
	}
	return stored(d), nil
}

func parseZone(text string) (string, error) {
	if _, err := time.LoadLocation(text); err != nil || text == "" || text == "Local" {
		return "", fmt.Errorf("%q, which is no time zone; one is America/Sao_Paulo", text)
	}
	return text, nil
}

func stored(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }

// seconds reads a length of time; for ever is infinite.
func seconds(value string) float64 {
	s, err := strconv.ParseFloat(value, 64)
	if err != nil || s >= maxKept.Seconds()+1 {
		return math.Inf(1)
	}
	return s
}

func secondsOrNil(value string) any {
	if s := seconds(value); !math.IsInf(s, 1) {
		return s
	}
	return nil
}

func showLength(value string) string {
	return (time.Duration(math.Round(seconds(value)*1e6)) * time.Microsecond).String()
}

func showKept(value string) string {
	s := seconds(value)
	switch {
	case math.IsInf(s, 1):
		return "forever"
	case math.Mod(s, day.Seconds()) == 0:
		return fmt.Sprintf("%.0fd", s/day.Seconds())
	}
	return showLength(value)
}
