package op

import "bilinc/runtime/kernel"

// PermuteAxes is the number of axes up to which a Permutation works.
const PermuteAxes = 8

// A Permutation copies float32 tensors with their axes in another order, as Transpose does, but allocates nothing: keep
// it for the next copy. The zero value is ready. It is not for use by several goroutines at a time.
type Permutation struct {
	room     [3][PermuteAxes]int // of the box
	b        box
	to, from []float32
	tiled    bool
	tiling   tiling
	pieces   int // of a run
	part     func(lo, hi int)
}

// Copy sets y, in row-major order, to x read in steps: element (i, j, …) of dims is at i·strides[0] + j·strides[1] + …
// There must be elements, and no more axes than PermuteAxes.
func (o *Permutation) Copy(p *kernel.Pool, y, x []float32, dims, strides []int) {
	step := len(y)
	shape, ds, ss := o.room[0][:0], o.room[1][:0], o.room[2][:0]
	for i, d := range dims {
		step /= d
		switch n := len(shape) - 1; {
		case d == 1:
		case n >= 0 && ss[n] == strides[i]*d: // the destination's steps are always so
			shape[n] *= d
			ds[n], ss[n] = step, strides[i]
		default:
			shape, ds, ss = append(shape, d), append(ds, step), append(ss, strides[i])
		}
	}
	if len(shape) == 0 {
		shape, ds, ss = append(shape, 1), append(ds, 1), append(ss, 1)
	}
	o.b, o.to, o.from = box{shape: shape, dstStrides: ds, srcStrides: ss}, y, x
	if o.part == nil {
		o.part = o.run
	}
	if o.tiled = o.b.arrange(); o.tiled {
		o.tiling = o.b.tiling()
		p.For(o.tiling.count, o.tiling.grain, o.part)
	} else {
		last := len(shape) - 1
		o.pieces = (shape[last]-1)/elementGrain + 1
		p.For(product(shape[:last])*o.pieces, max(1, elementGrain/shape[last]), o.part)
	}
	o.to, o.from = nil, nil
}

// run copies the tasks lo … hi−1.
func (o *Permutation) run(lo, hi int) {
	if o.tiled {
		moveTilesIn(o.to, o.from, o.b, o.tiling, lo, hi)
		return
	}
	last := len(o.b.shape) - 1
	if o.pieces == 1 {
		if to, from := o.to, o.from; o.b.dstStrides[last] == 1 && o.b.srcStrides[last] == 1 {
			n := o.b.shape[last]
			o.b.groupsIn(lo, hi, func(at, src, runs, ds, ss int) {
				for range runs {
					copy(to[at:at+n], from[src:src+n])
					at += ds
					src += ss
				}
			})
			return
		}
		o.b.rowsIn(lo, hi, o.row)
		return
	}
	for t := lo; t < hi; t++ {
		at, src := o.b.position(t/o.pieces, last)
		k := t % o.pieces * elementGrain
		o.row(at+k*o.b.dstStrides[last], src+k*o.b.srcStrides[last], min(elementGrain, o.b.shape[last]-k))
	}
}

// row copies n elements along the innermost axis.
func (o *Permutation) row(at, src, n int) {
	last := len(o.b.shape) - 1
	ds, ss := o.b.dstStrides[last], o.b.srcStrides[last]
	if ds == 1 && ss == 1 {
		copy(o.to[at:at+n], o.from[src:src+n])
		return
	}
	for range n {
		o.to[at] = o.from[src]
		at += ds
		src += ss
	}
}
