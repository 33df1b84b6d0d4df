package presence

import (
	"regexp"
	"strconv"
	"time"
)

var calendarDuration = regexp.MustCompile(`^([0-9]{1,6})([dwy])$`)

// ParseDuration reads a duration as time.ParseDuration does, or as a whole number of days (d), weeks (w) or years (y) of 365
// days. For these, the maximum is 100,000 days.
func ParseDuration(text string) (time.Duration, error) {
	m := calendarDuration.FindStringSubmatch(text)
	if m == nil {
		return time.ParseDuration(text)
	}
	n, err := strconv.Atoi(m[1])
	days := n * map[string]int{"d": 1, "w": 7, "y": 365}[m[2]]
	return time.Duration(min(days, 100_000)) * 24 * time.Hour, err // more would overflow
}
