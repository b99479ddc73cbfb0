package op

import (
	"math"
	"sync"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A ranked element of a lane: a number that orders as it does, and where it is.
type ranked struct {
	key int64
	at  int
}

// below tells whether a comes after b: the smaller key, or of equal ones the later.
func (a ranked) below(b ranked) bool { return a.key < b.key || a.key == b.key && a.at > b.at }

// sink restores a heap, the lowest of which is its root, where that at i alone may be too high.
func sink(h []ranked, i int) {
	r := h[i]
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].below(h[c]) {
			c++
		}
		if r.below(h[c]) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = r
}

// highest gives the len(top) highest of keys, of which the first is at position from; they are a heap.
func highest(top []ranked, keys []int64, from int) {
	k := len(top)
	if k == 0 {
		return
	}
	for i := range top {
		top[i] = ranked{keys[i], from + i}
	}
	for i := k/2 - 1; i >= 0; i-- {
		sink(top, i)
	}
	for i, key := range keys[k:] {
		if key > top[0].key { // an equal one comes after those that are there
			top[0] = ranked{key, from + k + i}
			sink(top, 0)
		}
	}
}

// inOrder sorts a heap, the highest first.
func inOrder(h []ranked) {
	for n := len(h) - 1; n > 0; n-- {
		h[0], h[n] = h[n], h[0]
		sink(h[:n], 0)
	}
}

// selection is memory of those that select.
type selection struct {
	keys []int64
	top  []ranked
}

var selections = sync.Pool{New: func() any { return new(selection) }}

// sized is the selection with room for so many keys and elements.
func (s *selection) sized(keys, top int) *selection {
	if cap(s.keys) < keys {
		s.keys = make([]int64, keys)
	}
	if cap(s.top) < top {
		s.top = make([]ranked, top)
	}
	s.keys, s.top = s.keys[:keys], s.top[:top]
	return s
}

// selectTop calls found for each lane of x, of d elements step apart, with its k highest (or lowest) in
// order, of equal ones the first first. first is where a lane begins. Lanes are shared by all cores, and long
// ones in pieces: which elements are found is a matter of the order alone.
func selectTop(p *kernel.Pool, x *tensor.Tensor, lanes, d, step, k int, largest bool, first func(lane int) int, found func(lane int, top []ranked)) {
	if d <= 2*elementGrain || k > elementGrain/16 {
		p.For(lanes, max(1, elementGrain/2/max(1, d)), func(lo, hi int) {
			s := selections.Get().(*selection).sized(d, k)
			defer selections.Put(s)
			for lane := lo; lane < hi; lane++ {
				laneKeys(s.keys, x, first(lane), step, largest)
				highest(s.top, s.keys, 0)
				inOrder(s.top)
				found(lane, s.top)
			}
		})
		return
	}
	pieces := (d + elementGrain - 1) / elementGrain
	all := selections.Get().(*selection)
	defer selections.Put(all)
	for lane := range lanes {
		all.sized(0, pieces*k)
		p.For(d, elementGrain, func(lo, hi int) {
			s := selections.Get().(*selection).sized(hi-lo, 0)
			defer selections.Put(s)
			laneKeys(s.keys, x, first(lane)+lo*step, step, largest)
			piece := lo / elementGrain * k
			top := all.top[piece : piece+min(k, hi-lo)]
			highest(top, s.keys, lo)
		})
		n := (pieces-1)*k + min(k, d-(pieces-1)*elementGrain)
		top := all.top[:k]
		for i := k/2 - 1; i >= 0; i-- {
			sink(top, i)
		}
		for _, r := range all.top[k:n] {
			if top[0].below(r) {
				top[0] = r
				sink(top, 0)
			}
		}
		inOrder(top)
		found(lane, top)
	}
}

// laneKeys gives integers that are ordered as elements of x, of numbers, are, from position at on: ascending where the
// largest are wanted, descending otherwise. NaN counts as less than all numbers, and both zeros are one.
func laneKeys(keys []int64, x *tensor.Tensor, at, step int, largest bool) {
	switch x.DType() {
	case tensor.Float32:
		v := tensor.Data[float32](x)
		for i := range keys {
			keys[i] = key32(v[at+i*step])
		}
	case tensor.Float64:
		v := tensor.Data[float64](x)
		for i := range keys {
			keys[i] = key64(v[at+i*step])
		}
	case tensor.Float16:
		v := tensor.Data[uint16](x)
		for i := range keys {
			keys[i] = key32(tensor.Float16ToFloat32(v[at+i*step]))
		}
	case tensor.BFloat16:
		v := tensor.Data[uint16](x)
		for i := range keys {
			keys[i] = key32(tensor.BFloat16ToFloat32(v[at+i*step]))
		}
	case tensor.Bool, tensor.Uint8:
		integerKeys(keys, tensor.Data[uint8](x), at, step)
	case tensor.Int8:
		integerKeys(keys, tensor.Data[int8](x), at, step)
	case tensor.Int16:
		integerKeys(keys, tensor.Data[int16](x), at, step)
	case tensor.Int32:
		integerKeys(keys, tensor.Data[int32](x), at, step)
	case tensor.Int64:
		integerKeys(keys, tensor.Data[int64](x), at, step)
	case tensor.Uint16:
		integerKeys(keys, tensor.Data[uint16](x), at, step)
	case tensor.Uint32:
		integerKeys(keys, tensor.Data[uint32](x), at, step)
	case tensor.Uint64:
		integerKeys(keys, tensor.Data[uint64](x), at, step)
		for i := range keys {
			keys[i] ^= math.MinInt64
		}
	}
	if !largest {
		for i, key := range keys {
			keys[i] = ^key
		}
	}
}

func integerKeys[T integer](keys []int64, v []T, at, step int) {
	for i := range keys {
		keys[i] = int64(v[at+i*step])
	}
}

// key32 orders as cmp.Compare does.
func key32(v float32) int64 {
	b := int32(math.Float32bits(v))
	switch {
	case v == 0:
		return 0
	case v != v:
		return math.MinInt64
	case b < 0:
		b ^= math.MaxInt32
	}
	return int64(b)
}

func key64(v float64) int64 {
	b := int64(math.Float64bits(v))
	switch {
	case v == 0:
		return 0
	case v != v:
		return math.MinInt64
	case b < 0:
		b ^= math.MaxInt64
	}
	return b
}
