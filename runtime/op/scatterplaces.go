package op

import (
	"slices"
	"sync/atomic"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Scattering without a list of all positions: a block of indices at a time becomes places, which stay in the nearest
// cache, and then come the updates. Where two updates may meet each core has parts of the output, which it copies
// and changes: what goes elsewhere it leaves out. That looks at all indices once for every part, which takes less
// time than to fetch what another core has just written.

// A scatterer is one Scatter in progress. Its methods report whether they did all of it: not if there is no loop for
// the type of the indices, nor if one of these is outside of its axis.
type scatterer interface {
	// elements is ScatterElements along an axis of an input of that shape.
	elements(p *kernel.Pool, at *tensor.Tensor, shape []int, axis int) bool
	// slices is ScatterND of slices of size elements, which the indices choose by the axes.
	slices(p *kernel.Pool, at *tensor.Tensor, axes []int, size int) bool
}

// scattererOf is nil for types of elements that there is no loop for.
func scattererOf(rule scatterRule, x, updates, y *tensor.Tensor) scatterer {
	d := y.DType()
	if rule == "none" {
		switch d.Bits() {
		case 8:
			return newScattered[uint8](rule, x, updates, y)
		case 16:
			return newScattered[uint16](rule, x, updates, y)
		case 32:
			return newScattered[uint32](rule, x, updates, y)
		case 64:
			return newScattered[uint64](rule, x, updates, y)
		}
		return nil
	}
	switch d {
	case tensor.Float32:
		return newScattered[float32](rule, x, updates, y)
	case tensor.Float64:
		return newScattered[float64](rule, x, updates, y)
	case tensor.Int8:
		return newScattered[int8](rule, x, updates, y)
	case tensor.Int16:
		return newScattered[int16](rule, x, updates, y)
	case tensor.Int32:
		return newScattered[int32](rule, x, updates, y)
	case tensor.Int64:
		return newScattered[int64](rule, x, updates, y)
	case tensor.Uint8:
		return newScattered[uint8](rule, x, updates, y)
	case tensor.Uint16:
		return newScattered[uint16](rule, x, updates, y)
	case tensor.Uint32:
		return newScattered[uint32](rule, x, updates, y)
	case tensor.Uint64:
		return newScattered[uint64](rule, x, updates, y)
	}
	return nil
}

// scattered is a scatterer of elements of type T.
type scattered[T number] struct {
	rule          scatterRule
	x, y, updates []T
}

func newScattered[T number](rule scatterRule, x, updates, y *tensor.Tensor) *scattered[T] {
	return &scattered[T]{rule, tensor.Data[T](x), tensor.Data[T](y), tensor.Data[T](updates)}
}

// placeBlock is how many indices are looked at together.
const placeBlock = 1024

// placeRoom is memory for a block.
type placeRoom struct {
	places       [placeBlock]int32
	where, which [placeBlock + kernel.AmongSlack]int32
}

var placeRooms scratchPool[placeRoom]

func (s *scattered[T]) elements(p *kernel.Pool, at *tensor.Tensor, shape []int, axis int) bool {
	as := at.Shape()
	if len(s.y) > 1<<31-1 || !slices.Equal(as[axis+1:], shape[axis+1:]) {
		return false
	}
	switch at.DType() {
	case tensor.Int64:
		return scatterElementsBy(p, s, tensor.Data[int64](at), as, shape, axis)
	case tensor.Int32:
		return scatterElementsBy(p, s, tensor.Data[int32](at), as, shape, axis)
	}
	return false
}

func scatterElementsBy[T number, I int32 | int64](p *kernel.Pool, s *scattered[T], list []I, as, shape []int, axis int) bool {
	pre, n, inner := around(as, axis)
	d := shape[axis]
	strides := tensor.Strides(shape)
	begin := func(line int) int { // of the part of the input that it changes
		from := 0
		for i, rest := axis-1, line; i >= 0; i-- {
			from += rest % as[i] * strides[i]
			rest /= as[i]
		}
		return from
	}
	if inner == 1 && pre < fewTasks && len(list) > elementGrain { // lines too few to share
		return s.byOwner(p, len(list), len(s.y), 1, func(places []int32, k int) bool {
			for len(places) > 0 {
				some := min(len(places), n-k%n)
				if !kernel.Places(places[:some], list[k:], d, 1, 0, begin(k/n)) {
					return false
				}
				places, k = places[some:], k+some
			}
			return true
		})
	}
	whole := slices.Equal(as[:axis], shape[:axis])
	if !whole || len(list) == 0 {
		p.For(len(s.y), 4*elementGrain, func(lo, hi int) { copy(s.y[lo:hi], s.x[lo:hi]) })
	}
	if len(list) == 0 {
		return true
	}
	cut := inner
	if pre < 2*fewTasks {
		cut = min(inner, max(64, (inner*pre/(2*fewTasks)+31)&^31))
	}
	cuts := (inner-1)/cut + 1
	var outside atomic.Bool
	p.For(pre*cuts, max(1, elementGrain/(n*cut)), func(lo, hi int) {
		r := placeRooms.get(1)
		defer placeRooms.Put(r)
		places := (*r)[0].places[:]
		for t := lo; t < hi; t++ {
			line, from := t/cuts, t%cuts*cut
			width, base := min(cut, inner-from), begin(line)
			if whole {
				copyColumns(s.y[base:], s.x[base:], d, inner, from, width)
			}
			to, wide, high, step, along := s.y[base:base+d*inner], width, n, inner, 1
			if inner == 1 {
				wide, high, step, along = n, 1, 1, 0
			}
			for i := range high {
				for k := 0; k < wide; k += placeBlock {
					some, at := min(placeBlock, wide-k), line*n*inner+i*inner+from+k
					if !kernel.Places(places[:some], list[at:], d, step, along, along*(from+k)) {
						outside.Store(true)
						return
					}
					s.apply(to, places[:some], s.updates[at:])
				}
			}
		}
	})
	return !outside.Load()
}

// copyColumns copies some of the columns of so many rows.
func copyColumns[T any](to, from []T, rows, step, first, width int) {
	if width == step {
		copy(to[:rows*step], from)
		return
	}
	for i := range rows {
		copy(to[i*step+first:][:width], from[i*step+first:])
	}
}

func (s *scattered[T]) slices(p *kernel.Pool, at *tensor.Tensor, axes []int, size int) bool {
	switch at.DType() {
	case tensor.Int64:
		return scatterSlicesBy(p, s, tensor.Data[int64](at), axes, size)
	case tensor.Int32:
		return scatterSlicesBy(p, s, tensor.Data[int32](at), axes, size)
	}
	return false
}

func scatterSlicesBy[T number, I int32 | int64](p *kernel.Pool, s *scattered[T], list []I, axes []int, size int) bool {
	total, depth := product(axes), len(axes)
	if depth == 0 || size == 0 || total > 1<<31-1 {
		return false
	}
	return s.byOwner(p, len(list)/depth, total, size, func(places []int32, k int) bool {
		list := list[k*depth:]
		switch depth {
		case 1:
			return kernel.Places(places, list, axes[0], 1, 0, 0)
		case 2:
			return kernel.PairPlaces(places, list, axes[0], axes[1])
		}
		for k := range places {
			at := 0
			for a, d := range axes {
				i := int(list[k*depth+a])
				i += d & (i >> 63)
				if uint(i) >= uint(d) {
					return false
				}
				at = at*d + i
			}
			places[k] = int32(at)
		}
		return true
	})
}

// byOwner changes total slices of size elements by count updates, the places of which decode gives from the k-th on.
func (s *scattered[T]) byOwner(p *kernel.Pool, count, total, size int, decode func(places []int32, k int) bool) bool {
	parts := 1
	switch threads := p.Threads(); {
	case count*size+len(s.y) <= 2*elementGrain:
	case size >= 16: // to look at an index is little beside the update
		parts = min(total, max(2*fewTasks, 8*threads))
	default:
		parts = min(total, threads)
	}
	var outside atomic.Bool
	p.For(parts, 1, func(lo, hi int) {
		r := placeRooms.get(1)
		defer placeRooms.Put(r)
		room := &(*r)[0]
		least, most := total*lo/parts, total*hi/parts
		to := s.y[least*size : most*size]
		copy(to, s.x[least*size:])
		for k := 0; k < count; k += placeBlock {
			places := room.places[:min(placeBlock, count-k)]
			if !decode(places, k) {
				outside.Store(true)
				return
			}
			from := s.updates[k*size:]
			if parts == 1 && size == 1 {
				s.apply(to, places, from)
				continue
			}
			n := kernel.Among(room.where[:], room.which[:], places, least, most-least)
			if size == 1 {
				s.applyListed(to, room.where[:n], room.which[:n], from)
				continue
			}
			for i, at := range room.where[:n] {
				s.applyRun(to[int(at)*size:][:size], from[int(room.which[i])*size:][:size])
			}
		}
	})
	return !outside.Load()
}

// apply changes to[places[k]] by from[k], one after the other.
func (s *scattered[T]) apply(to []T, places []int32, from []T) {
	from = from[:len(places)]
	switch s.rule {
	case "none":
		for k, at := range places {
			to[at] = from[k]
		}
	case "add":
		for k, at := range places {
			to[at] += from[k]
		}
	case "mul":
		for k, at := range places {
			to[at] *= from[k]
		}
	case "min":
		for k, at := range places {
			to[at] = min(to[at], from[k])
		}
	case "max":
		for k, at := range places {
			to[at] = max(to[at], from[k])
		}
	}
}

// applyListed changes to[where[i]] by from[which[i]], one after the other.
func (s *scattered[T]) applyListed(to []T, where, which []int32, from []T) {
	which = which[:len(where)]
	switch s.rule {
	case "none":
		for i, at := range where {
			to[at] = from[which[i]]
		}
	case "add":
		for i, at := range where {
			to[at] += from[which[i]]
		}
	case "mul":
		for i, at := range where {
			to[at] *= from[which[i]]
		}
	case "min":
		for i, at := range where {
			to[at] = min(to[at], from[which[i]])
		}
	case "max":
		for i, at := range where {
			to[at] = max(to[at], from[which[i]])
		}
	}
}

// vectorRun is how many elements of a run are worth a call of a kernel.
const vectorRun = 64

// applyRun changes a run by another.
func (s *scattered[T]) applyRun(to, from []T) {
	from = from[:len(to)]
	if y, ok := any(to).([]float32); ok && len(to) >= vectorRun && (s.rule == "add" || s.rule == "mul") {
		op := kernel.Plus
		if s.rule == "mul" {
			op = kernel.Times
		}
		kernel.Zip32(nil, op, 1, len(y), y, len(y), y, len(y), 1, any(from).([]float32), len(y), 1)
		return
	}
	switch s.rule {
	case "none":
		copy(to, from)
	case "add":
		for i, v := range from {
			to[i] += v
		}
	case "mul":
		for i, v := range from {
			to[i] *= v
		}
	case "min":
		for i, v := range from {
			to[i] = min(to[i], v)
		}
	case "max":
		for i, v := range from {
			to[i] = max(to[i], v)
		}
	}
}
