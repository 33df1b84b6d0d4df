package simulate

import "github.com/presencelog/presencelog/internal/presence"

// pending is an event of the future.
type pending struct {
	at       int64 // Unix microseconds
	contact  int32
	status   presence.Status
	lastSeen bool
}

// queue is a heap of future events, the next one first, for package heap.
type queue []pending

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(p any)        { *q = append(*q, p.(pending)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	*q = (*q)[:last]
	return p
}
