package history

import (
	"math"
	"slices"
)

// percentile returns PostgreSQL's percentile_cont for a p from 0 to 1 that is a multiple of 0.1, so that rounding to a tenth is
// exact. It reorders the numbers, which must not be empty.
func percentile(numbers []int64, p float64) float64 {
	at := p * float64(len(numbers)-1)
	below := int(at)
	selectNth(numbers, below)
	value := float64(numbers[below])
	if rest := at - float64(below); rest > 0 {
		value += rest * float64(slices.Min(numbers[below+1:])-numbers[below])
	}
	return math.Round(value*10) / 10
}

// selectNth sorts the numbers in part: numbers[n] is what it would be if all were sorted, and none before it is larger, none
// after it smaller. There may be millions: unlike sorting, it looks at each only a few times.
func selectNth(numbers []int64, n int) {
	for len(numbers) > 32 {
		pivot := medianOf(numbers[0], numbers[len(numbers)/2], numbers[len(numbers)-1])
		// [0, low) is smaller than the pivot, [low, i) equal to it, [high, …) larger.
		low, high := 0, len(numbers)
		for i := 0; i < high; {
			switch v := numbers[i]; {
			case v < pivot:
				numbers[i], numbers[low] = numbers[low], v
				low++
				i++
			case v > pivot:
				high--
				numbers[i], numbers[high] = numbers[high], v
			default:
				i++
			}
		}
		switch {
		case n < low:
			numbers = numbers[:low]
		case n >= high:
			numbers, n = numbers[high:], n-high
		default:
			return
		}
	}
	slices.Sort(numbers)
}

func medianOf(a, b, c int64) int64 {
	return max(min(a, b), min(max(a, b), c))
}
