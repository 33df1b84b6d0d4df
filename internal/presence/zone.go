package presence

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones must not depend on the machine
)

// LoadZone returns the time zone with an IANA name. Unlike time.LoadLocation, it rejects "" and "Local", which depend on the
// machine, and other files of the machine's database: "localtime" and "posixrules", copies below "posix/", and clocks with leap
// seconds below "right/".
func LoadZone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	folder, _, _ := strings.Cut(name, "/")
	if err != nil || slices.Contains([]string{"", "Local", "localtime", "posixrules", "posix", "right"}, folder) {
		return nil, fmt.Errorf("%q is not an IANA time zone like America/Sao_Paulo", name)
	}
	return loc, nil
}
