package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// The gradients of operators that put elements where indices, windows or a grid
// say, and of what makes such a grid.

func (*maxUnpool) saves(want []bool) ([]bool, bool)  { return inputs(want, false), false }
func (*col2Im) saves(want []bool) ([]bool, bool)     { return inputs(want, false), false }
func (*affineGrid) saves(want []bool) ([]bool, bool) { return inputs(want, false), false }
func (*gridSample) saves(want []bool) ([]bool, bool) { return []bool{want[1], true}, false }
func (*mod) saves(want []bool) ([]bool, bool)        { return inputs(want, want[1]), false }

// Backward takes each element's gradient from where the element went. Of two that
// went to one place the last one stayed; none does where MaxPool made the indices
// of windows that do not overlap.
func (o *maxUnpool) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	shape := out[0].Tensor.Shape()
	last := make([]int, product(shape))
	if err := o.each(in, shape, func(i, to int) { last[to] = i }); err != nil {
		return err
	}
	var failed error
	err := byFloat("MaxUnpool", in[0].Tensor.DType(),
		func() { failed = unpoolBack(o, in, shape, last, gradient[float32](dout, 0), gradient[float32](din, 0)) },
		func() { failed = unpoolBack(o, in, shape, last, gradient[float64](dout, 0), gradient[float64](din, 0)) })
	if err != nil {
		return err
	}
	return failed
}

func unpoolBack[T float](o *maxUnpool, in []tensor.Value, shape, last []int, dy, dx []T) error {
	return o.each(in, shape, func(i, to int) {
		if last[to] == i {
			dx[i] += dy[to]
		}
	})
}

// Backward gives each element of the columns the gradient of the one of the
// image that it was added to.
func (o *col2Im) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	y := out[0].Tensor
	block, ok := intsIn(in[2].Tensor)
	if !ok {
		return unsupportedType("Col2Im", in[2].Tensor.DType())
	}
	s, err := o.slides(y.Shape()[2:], block)
	if err != nil {
		return err
	}
	images, taps := y.Shape()[0]*y.Shape()[1], product(block)
	return byFloat("Col2Im", y.DType(),
		func() { imageToColumns(ctx, &s, images, taps, gradient[float32](dout, 0), gradient[float32](din, 0)) },
		func() { imageToColumns(ctx, &s, images, taps, gradient[float64](dout, 0), gradient[float64](din, 0)) })
}

func imageToColumns[T float](ctx *Ctx, s *[maxSpatial]slide, images, taps int, dy, dx []T) {
	if images*taps == 0 {
		return
	}
	plane, places := len(dy)/images, len(dx)/(images*taps)
	ctx.Pool.For(images*taps, max(1, elementGrain/max(1, places)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			from := dy[k/taps*plane:]
			row := dx[k*places : (k+1)*places]
			for p := range row {
				if at := seen(s, k%taps, p); at >= 0 {
					row[p] += from[at]
				}
			}
		}
	})
}

// Backward gives the elements that a position reads its gradient times their
// weights, and the coordinates of the position theirs by the weights' slopes.
func (o *gridSample) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) && !present(din, 1) {
		return nil
	}
	x := in[0].Tensor
	grid, err := tensor.Float64s(in[1].Tensor)
	if err != nil {
		return unsupportedType("GridSample", in[1].Tensor.DType())
	}
	var dgrid []float64
	if present(din, 1) {
		dgrid = make([]float64, len(grid))
	}
	err = byFloat("GridSample", x.DType(),
		func() {
			sampleGridBack(ctx, o, x, grid, gradient[float32](dout, 0), gradient[float32](din, 0), dgrid)
		},
		func() {
			sampleGridBack(ctx, o, x, grid, gradient[float64](dout, 0), gradient[float64](din, 0), dgrid)
		})
	if err != nil || dgrid == nil {
		return err
	}
	return addWide("GridSample", din[1], dgrid)
}

// A slopedTap is a gridTap with the derivatives of its weight by the coordinates,
// the last axis of the grid first.
type slopedTap struct {
	gridTap
	slope [maxSpatial]float64
}

func sampleGridBack[T float](ctx *Ctx, o *gridSample, x *tensor.Tensor, grid []float64, dy, dx []T, dgrid []float64) {
	n, c, size := x.Shape()[0], x.Shape()[1], x.Shape()[2:]
	if n*c*len(dy) == 0 {
		return
	}
	plane, places, axes := product(size), len(dy)/(n*c), len(size)
	src := tensor.Data[T](x)
	ctx.Pool.For(n, 1, func(lo, hi int) { // positions of one image may read the same elements
		var taps, next []slopedTap
		var line gridLine
		for p := lo * places; p < hi*places; p++ {
			taps = append(taps[:0], slopedTap{gridTap: gridTap{0, 1}})
			for i, length := range size {
				o.line(&line, grid[(p+1)*axes-1-i], length)
				next = next[:0]
				for _, t := range taps {
					for k := range line.count {
						if line.at[k] < 0 {
							continue
						}
						u := slopedTap{gridTap: gridTap{t.at*length + line.at[k], t.weight * line.weight[k]}}
						for j := range i {
							u.slope[j] = t.slope[j] * line.weight[k]
						}
						u.slope[i] = t.weight * line.slope[k]
						next = append(next, u)
					}
				}
				taps, next = next, taps
			}
			image, place := p/places*c, p%places
			for k := image; k < image+c; k++ {
				g := float64(dy[k*places+place])
				for _, t := range taps {
					if dx != nil {
						dx[k*plane+t.at] += T(g * t.weight)
					}
					for i := 0; i < axes && dgrid != nil; i++ {
						dgrid[(p+1)*axes-1-i] += g * t.slope[i] * float64(src[k*plane+t.at])
					}
				}
			}
		}
	})
}

// Backward is linear, as the map is.
func (o *affineGrid) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	dy, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return unsupportedType("AffineGrid", dout[0].Tensor.DType())
	}
	d := make([]float64, in[0].Tensor.Len())
	o.each(out[0].Tensor.Shape(), func(i, k int, v float64) { d[k] += dy[i] * v })
	return addWide("AffineGrid", din[0], d)
}

func (o *mod) hasGradient() bool { return o.fmod }

// Backward follows from x − y·trunc(x/y), trunc being flat: dx += dz, and dy +=
// −trunc(x/y)·dz.
func (o *mod) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	a, b, shape := in[0].Tensor, in[1].Tensor, out[0].Tensor.Shape()
	return byFloat("Mod", out[0].Tensor.DType(),
		func() { modBack[float32](a, b, shape, dout, din) },
		func() { modBack[float64](a, b, shape, dout, din) })
}

func modBack[T float](a, b *tensor.Tensor, shape []int, dout, din []tensor.Value) {
	dz := gradient[T](dout, 0)
	if dx := gradient[T](din, 0); dx != nil {
		addReduced(dx, a.Shape(), 1, dz, shape)
	}
	if dy := gradient[T](din, 1); dy != nil {
		x, y := tensor.Data[T](a), tensor.Data[T](b)
		zipBack(dy, y, b.Shape(), x, a.Shape(), dz, shape, func(y, x, g T) T {
			return -g * T(math.Trunc(float64(x)/float64(y)))
		})
	}
}
