package op

import "sync"

// A scratchPool is memory that operators use while they run, with whatever is in it.
type scratchPool[T any] struct{ sync.Pool }

// get is memory for n elements; Put gives it back.
func (p *scratchPool[T]) get(n int) *[]T {
	s, _ := p.Get().(*[]T)
	if s == nil {
		s = new([]T)
	}
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
	return s
}

// give gives back memory that is no longer in a pointer, or that never came from here.
func (p *scratchPool[T]) give(s []T) { p.Put(&s) }

var (
	floatScratches scratchPool[float32]
	wideScratches  scratchPool[float64]
	intScratches   scratchPool[int32]
	placeScratches scratchPool[int]
	byteScratches  scratchPool[byte]
)
