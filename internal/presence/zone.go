package presence

import (
	"fmt"
	"time"
	_ "time/tzdata" // time zones must not depend on the machine
)

// LoadZone returns the time zone of an IANA name. API, command line and settings all use it, so that they accept the same
// names. time.LoadLocation also accepts "" and "Local", which mean something else on each machine.
func LoadZone(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not an IANA time zone like America/Sao_Paulo", name)
	}
	return loc, nil
}
