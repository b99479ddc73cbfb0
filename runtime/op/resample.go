package op

import (
	"math"
	"slices"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A tapTable is what each of out places along an axis of n elements is made of: the terms k from first[i] to before
// first[i+1], weights[k] times the element at[k]. None has a weight of 0: such an element does not count, whatever
// it is.
type tapTable[T float32 | float64] struct {
	n, out    int
	first, at []int
	weights   []T
}

func tableOf[T float32 | float64](o *resize, s sampling) *tapTable[T] {
	t := &tapTable[T]{n: s.n, out: s.out, first: make([]int, 1, s.out+1)}
	var at []int
	var weights []float64
	for i := range s.out {
		if at, weights = o.taps(s, o.at(s, i), at, weights); t.at == nil {
			t.at, t.weights = make([]int, 0, s.out*len(at)), make([]T, 0, s.out*len(at))
		}
		for k, w := range weights {
			if w := T(w); w != 0 {
				t.at, t.weights = append(t.at, at[k]), append(t.weights, w)
			}
		}
		t.first = append(t.first, len(t.at))
	}
	return t
}

// still tells whether every place is the element of its number.
func (t *tapTable[T]) still() bool {
	if t.n != t.out || len(t.at) != t.n {
		return false
	}
	for i, a := range t.at {
		if a != i || t.first[i] != i || t.weights[i] != 1 {
			return false
		}
	}
	return true
}

// terms is what place i is made of.
func (t *tapTable[T]) terms(i int) (at []int, weights []T) {
	return t.at[t.first[i]:t.first[i+1]], t.weights[t.first[i]:t.first[i+1]]
}

// apart is the table where neighbours along the axis are so many elements apart.
func (t *tapTable[T]) apart(inner int) *tapTable[T] {
	far := *t
	far.at = make([]int, len(t.at))
	for k, a := range t.at {
		far.at[k] = a * inner
	}
	return &far
}

// rowSampler is what makes a row of places out of a row of elements, behind which there are kernel.SampleSlack more.
func (t *tapTable[T]) rowSampler() func(y, x []T) {
	if w, ok := any(t.weights).([]float32); ok {
		s := kernel.NewSampling32(t.first, t.at, w)
		run, _ := any(s.Run).(func(y, x []T))
		return run
	}
	return func(y, x []T) {
		for i := range t.out {
			sum := T(0)
			at, weights := t.terms(i)
			for k, w := range weights {
				term := w * x[at[k]] // rounded, as every assignment is
				sum += term
			}
			y[i] = sum
		}
	}
}

// combine is kernel.Combine32 for T.
func combine[T float32 | float64](y, x []T, at []int, w []T) {
	if y, ok := any(y).([]float32); ok {
		kernel.Combine32(y, any(x).([]float32), at, any(w).([]float32))
		return
	}
	clear(y)
	for k, a := range at {
		from, weight := x[a:][:len(y)], w[k]
		for j, v := range from {
			term := weight * v
			y[j] += term
		}
	}
}

// sampleAll resizes v of a shape to y, an axis after the other.
func sampleAll[T float32 | float64](ctx *Ctx, o *resize, plan []sampling, shape []int, v, y []T) {
	crops := o.transform == "tf_crop_and_resize"
	shape = slices.Clone(shape)
	tables := make([]*tapTable[T], len(plan))
	var axes []int // that change
	for a, s := range plan {
		if s.n != s.out || s.scale != 1 || crops {
			if tables[a] = tableOf[T](o, s); !tables[a].still() {
				axes = append(axes, a)
			}
		}
	}
	if len(axes) == 0 {
		copy(y, v)
	}
	for len(axes) > 0 {
		a := axes[0]
		two := len(axes) == 2 && axes[1] == a+1
		last := two || len(axes) == 1
		to, done := y, func() {}
		if !last {
			to, done = floatsFor[T](product(shape) / shape[a] * tables[a].out)
		}
		if outer := product(shape[:a]); two {
			samplePlanes(ctx, tables[a], tables[a+1], v, to, outer, product(shape[a+2:]))
		} else {
			sampleAxis(ctx, tables[a], v, to, outer, product(shape[a+1:]))
		}
		if last {
			break
		}
		defer done()
		v, shape[a], axes = to, tables[a].out, axes[1:]
	}
	if crops {
		extrapolate(ctx, o, plan, y)
	}
}

// sampleAxis resizes v[outer n inner] to y[outer out inner].
func sampleAxis[T float32 | float64](ctx *Ctx, t *tapTable[T], v, y []T, outer, inner int) {
	if inner == 1 {
		whole := &tapTable[T]{n: 1, out: 1, first: []int{0, 1}, at: []int{0}, weights: []T{1}}
		samplePlanes(ctx, whole, t, v, y, outer, 1)
		return
	}
	far := t.apart(inner)
	ctx.Pool.For(outer*t.out, max(1, elementGrain/inner), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at, w := far.terms(r % t.out)
			combine(y[r*inner:(r+1)*inner], v[r/t.out*t.n*inner:], at, w)
		}
	})
}

// samplePlanes resizes v[outer a.n b.n inner] to y[outer a.out b.out inner]: for each place along the first axis a
// row out of rows, and out of that one the places along the second. It stays in the nearest cache.
func samplePlanes[T float32 | float64](ctx *Ctx, a, b *tapTable[T], v, y []T, outer, inner int) {
	from, to := b.n*inner, b.out*inner
	rows, cols, row := a.apart(from), b.apart(inner), b.rowSampler()
	ctx.Pool.For(outer*a.out, max(1, elementGrain/(from+to)), func(lo, hi int) {
		mixed, done := floatsFor[T](from + kernel.SampleSlack)
		defer done()
		for r := lo; r < hi; r++ {
			at, w := rows.terms(r % a.out)
			combine(mixed[:from], v[r/a.out*a.n*from:], at, w)
			if inner == 1 {
				row(y[r*to:(r+1)*to], mixed)
				continue
			}
			for i := range b.out {
				at, w := cols.terms(i)
				combine(y[r*to+i*inner:][:inner], mixed, at, w)
			}
		}
	})
}

// extrapolate overwrites what samples positions outside the input.
func extrapolate[T float32 | float64](ctx *Ctx, o *resize, plan []sampling, v []T) {
	outside := make([][]bool, len(plan))
	for a, s := range plan {
		outside[a] = make([]bool, s.out)
		for i := range outside[a] {
			x := o.at(s, i)
			outside[a][i] = x < 0 || x > float64(s.n-1)
		}
	}
	if len(plan) == 0 {
		return
	}
	outer, last := outside[:len(plan)-1], outside[len(plan)-1]
	n := len(last)
	ctx.Pool.For(len(v)/n, max(1, elementGrain/n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row, whole := v[r*n:(r+1)*n], false
			for a, rest := len(outer)-1, r; a >= 0; a-- {
				whole = whole || outer[a][rest%len(outer[a])]
				rest /= len(outer[a])
			}
			for i, out := range last {
				if whole || out {
					row[i] = T(o.outside)
				}
			}
		}
	})
}

// storeNumbers writes float64 into y: rounded where y is floating-point, cut off towards zero and saturated where it
// is an integer.
func storeNumbers(ctx *Ctx, name string, v, y *tensor.Tensor) error {
	switch y.DType() {
	case tensor.Uint8:
		storeCut(ctx, tensor.Data[float64](v), tensor.Data[uint8](y), 0, math.MaxUint8)
	case tensor.Int8:
		storeCut(ctx, tensor.Data[float64](v), tensor.Data[int8](y), math.MinInt8, math.MaxInt8)
	case tensor.Int32:
		storeCut(ctx, tensor.Data[float64](v), tensor.Data[int32](y), math.MinInt32, math.MaxInt32)
	default:
		if err := castTo(ctx.Pool, v, y); err != nil {
			return unsupportedType(name, y.DType())
		}
	}
	return nil
}

func storeCut[T uint8 | int8 | int32](ctx *Ctx, v []float64, y []T, lo, hi float64) {
	ctx.Pool.For(len(v), elementGrain, func(first, end int) {
		for i := first; i < end; i++ {
			y[i] = T(min(max(v[i], lo), hi))
		}
	})
}
