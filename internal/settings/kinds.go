package settings

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

// kind parses and formats values. A value is as in the database: a duration in seconds, or a name.
type kind struct {
	parse func(text string) (value string, err error)
	Show  func(value string) string
	JSON  func(value string) any
}

var (
	timeout = kind{parseTimeout, showDuration, secondsOrNil}
	kept    = kind{parseKept, ShowKept, secondsOrNil}
	zone    = kind{parseZone, func(name string) string { return name }, func(name string) any { return name }}
)

const (
	day     = 24 * time.Hour
	maxKept = 100 * 365 * day
	// forever is not NULL, since NULL of an instance means the default.
	forever = "31536000000" // 365000 days
)

func parseTimeout(text string) (string, error) {
	d, err := time.ParseDuration(text)
	if err != nil && number.MatchString(text) {
		return "", fmt.Errorf("%[1]q, which has no unit: write %[1]vs or %[1]vm", text)
	}
	if err != nil || d < time.Second || d > 24*time.Hour {
		return "", fmt.Errorf("%q; it must be from 1s to 24h", text)
	}
	return stored(d), nil
}

var number = regexp.MustCompile(`^[0-9]+([.][0-9]*)?$`)

func parseKept(text string) (string, error) {
	if text == "forever" {
		return forever, nil
	}
	d, err := presence.ParseDuration(text)
	if err != nil && number.MatchString(text) {
		return "", fmt.Errorf("%[1]q, which has no unit: write %[1]sd or %[1]sw", text)
	}
	if err != nil || d < day || d > maxKept {
		return "", fmt.Errorf("%q; it must be from 1d to 100y, for example 90d, 12w or 720h, or forever", text)
	}
	return stored(d), nil
}

func parseZone(text string) (string, error) {
	if _, err := presence.LoadZone(text); err != nil {
		return "", fmt.Errorf("%q, which is not an IANA time zone like America/Sao_Paulo", text)
	}
	return text, nil
}

func stored(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }

// seconds parses a duration; forever is infinite.
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

func showDuration(value string) string {
	return (time.Duration(math.Round(seconds(value)*1e6)) * time.Microsecond).String()
}

// ShowKept formats a retention.
func ShowKept(value string) string {
	s := seconds(value)
	switch {
	case math.IsInf(s, 1):
		return "forever"
	case math.Mod(s, day.Seconds()) == 0:
		return fmt.Sprintf("%.0fd", s/day.Seconds())
	}
	return showDuration(value)
}
