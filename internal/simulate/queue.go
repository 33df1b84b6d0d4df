package simulate

import "github.com/presencelog/presencelog/internal/presence"

// pending is an event of the future.
type pending struct {
	at       int64 // Unix microseconds
	contact  int32
	status   presence.Status
	lastSeen bool
}

// queue is a binary heap of future events, the next one first. It does not use container/heap, which would allocate for every
// event.
type queue []pending

func (q *queue) push(p pending) {
	*q = append(*q, p)
	h := *q
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].at <= p.at {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = p
}

func (q *queue) pop() pending {
	h := *q
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].at < h[child].at {
			child++
		}
		if last.at <= h[child].at {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = last
	}
	return top
}
