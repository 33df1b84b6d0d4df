package simulate

import "math"

// calendar is a range of time divided into hours, weighted by their activity.
type calendar []slot

type slot struct {
	end  int64   // Unix microseconds; it starts at the end of the previous slot
	hour int     // the local hour of the week
	pace float64 // activity per microsecond
	left float64 // activity from the end of this slot to the end of the range
}

// position is a time within a calendar.
type position struct {
	at   int64 // Unix microseconds
	slot int
}

// calendar divides [start, end), in Unix microseconds, at full hours in UTC. If local hours begin at other minutes, it uses the
// local hour at the middle.
func (p *people) calendar(start, end int64) calendar {
	const hour = microsPerDay / 24
	var c calendar
	for at := start; at < end; {
		next := min(at-((at%hour)+hour)%hour+hour, end)
		s := slot{end: next, hour: p.hourOfWeek(at + (next-at)/2)}
		for k := range p.groups {
			s.pace += p.groups[k].hours[s.hour] / hour
		}
		c = append(c, s)
		at = next
	}
	for i := len(c) - 2; i >= 0; i-- {
		next := c[i+1]
		c[i].left = next.left + next.pace*float64(next.end-c[i].end)
	}
	return c
}

// advance moves a position forward until only this share of the remaining activity is left, 0 < share <= 1. The new
// position is never before the old one and always before the end of the range.
func (c calendar) advance(from position, share float64) position {
	i := from.slot
	left := share * (c[i].left + c[i].pace*float64(c[i].end-from.at))
	for c[i].left > left {
		i++
	}
	at := c[i].end - int64(math.Ceil((left-c[i].left)/c[i].pace))
	return position{at: min(max(at, from.at), c[i].end-1), slot: i}
}
