package op

import (
	"math"
	"slices"

	"bilinc/runtime/tensor"
)

// The gradients here are computed in float64, as their operators are.

// wideBack reads x and dy, the first input and the gradient of the first
// output, and adds what f makes of them to din[0].
func wideBack(name string, in, dout, din []tensor.Value, f func(x, dy []float64) ([]float64, error)) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	x, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return unsupportedType(name, in[0].Tensor.DType())
	}
	dy, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return unsupportedType(name, dout[0].Tensor.DType())
	}
	g, err := f(x, dy)
	if err != nil {
		return err
	}
	return addWide(name, din[0], g)
}

func (*cumSum) saves(want []bool) ([]bool, bool)       { return inputs(want, false), false }
func (*resize) saves(want []bool) ([]bool, bool)       { return allButFirst(want), false }
func (*lpNorm) saves(want []bool) ([]bool, bool)       { return inputs(want, true), false }
func (*meanVariance) saves(want []bool) ([]bool, bool) { return inputs(want, true), false }
func (*lrn) saves(want []bool) ([]bool, bool)          { return inputs(want, true), false }
func (det) saves(want []bool) ([]bool, bool)           { return inputs(want, true), false }

// Backward is the sum from the other end.
func (o *cumSum) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	back := &cumSum{exclusive: o.exclusive, reverse: !o.reverse}
	g, err := Eval(ctx, back, []tensor.Value{dout[0], in[1]}, 1)
	if err != nil {
		return err
	}
	return addBack("CumSum", g, din)
}

// Backward is, for x̂ = x/‖x‖ along the axis, (dy − ∂‖x‖/∂x·Σ x̂·dy)/‖x‖; 0 where
// the norm is.
func (o *lpNorm) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	return wideBack("LpNormalization", in, dout, din, func(x, dy []float64) ([]float64, error) {
		axis, err := normAxis(o.axis, in[0].Tensor.Rank())
		if err != nil {
			return nil, err
		}
		dx := make([]float64, len(x))
		outer, n, inner := around(in[0].Tensor.Shape(), axis)
		for i := range outer * inner {
			first := i/inner*n*inner + i%inner
			norm, along := 0.0, 0.0
			for k := range n {
				v := x[first+k*inner]
				along += v * dy[first+k*inner]
				if o.p == 1 {
					norm += math.Abs(v)
				} else {
					norm += v * v
				}
			}
			if o.p == 2 {
				norm = math.Sqrt(norm)
			}
			for k := 0; k < n && norm > 0; k++ {
				at := first + k*inner
				by := sign(x[at])
				if o.p == 2 {
					by = x[at] / norm
				}
				dx[at] = (dy[at] - by*along/norm) / norm
			}
		}
		return dx, nil
	})
}

// Backward is, for x̂ = (x − mean)/(σ + 1e-9), (dy − mean(dy) − x̂·mean(x̂·dy)·(σ+1e-9)/σ)/(σ + 1e-9).
func (o *meanVariance) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	return wideBack("MeanVarianceNormalization", in, dout, din, func(x, dy []float64) ([]float64, error) {
		shape := in[0].Tensor.Shape()
		axes, err := normAxes(o.axes, len(shape))
		if err != nil {
			return nil, err
		}
		mask, groups := make([]bool, len(shape)), len(x)
		for _, a := range axes {
			mask[a] = true
			groups /= max(1, shape[a])
		}
		n := float64(len(x)) / math.Max(1, float64(groups))
		mean, squares, a, b := make([]float64, groups), make([]float64, groups), make([]float64, groups), make([]float64, groups)
		eachReduced(shape, mask, func(i, j int) { mean[j] += x[i] / n })
		eachReduced(shape, mask, func(i, j int) {
			d := x[i] - mean[j]
			squares[j] += d * d / n
			a[j] += dy[i] / n
			b[j] += d * dy[i] / n
		})
		dx := make([]float64, len(x))
		eachReduced(shape, mask, func(i, j int) {
			sigma := math.Sqrt(squares[j])
			wide := sigma + 1e-9
			dx[i] = (dy[i] - a[j]) / wide
			if sigma > 0 {
				dx[i] -= (x[i] - mean[j]) * b[j] / (sigma * wide * wide)
			}
		})
		return dx, nil
	})
}

// Backward is, with d = bias + α/size·Σ x² around a channel, dy·d^−β for the
// channel itself and −2·β·α/size·x·Σ dy·x·d^(−β−1) from those that see it.
func (o *lrn) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	return wideBack("LRN", in, dout, din, func(x, dy []float64) ([]float64, error) {
		dx := make([]float64, len(x))
		n, c, inner := around(in[0].Tensor.Shape(), 1)
		share := o.alpha / float64(o.size)
		for i := range n {
			for k := range c {
				lo, hi := max(0, k-(o.size-1)/2), min(c-1, k+o.size/2)
				for j := range inner {
					d := o.bias
					for q := lo; q <= hi; q++ {
						v := x[(i*c+q)*inner+j]
						d += share * v * v
					}
					at := (i*c+k)*inner + j
					power := math.Pow(d, -o.beta)
					dx[at] += dy[at] * power
					g := -2 * o.beta * share * dy[at] * x[at] * power / d
					for q := lo; q <= hi; q++ {
						dx[(i*c+q)*inner+j] += g * x[(i*c+q)*inner+j]
					}
				}
			}
		}
		return dx, nil
	})
}

// Backward is dy·adj(x)ᵀ, cofactor by cofactor.
func (det) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	return wideBack("Det", in, dout, din, func(x, dy []float64) ([]float64, error) {
		n := in[0].Tensor.Shape()[in[0].Tensor.Rank()-1]
		dx := make([]float64, len(x))
		minor := make([]float64, max(0, n-1)*max(0, n-1))
		for at := range dx {
			first, i, j := at/(n*n)*n*n, at/n%n, at%n
			k := 0
			for r := range n {
				for q := range n {
					if r != i && q != j {
						minor[k] = x[first+r*n+q]
						k++
					}
				}
			}
			dx[at] = dy[at/(n*n)] * determinant(minor, n-1)
			if (i+j)%2 == 1 {
				dx[at] = -dx[at]
			}
		}
		return dx, nil
	})
}

// Backward gives each sample's gradient to the elements that it was made of, axis
// by axis from the last.
func (o *resize) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) || out[0].Tensor.Len() == 0 {
		return nil
	}
	x := in[0].Tensor
	plan, err := o.samplings(in, x, out[0].Tensor)
	if err != nil {
		return err
	}
	g, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return unsupportedType(o.name, dout[0].Tensor.DType())
	}
	shape := slices.Clone(out[0].Tensor.Shape())
	crops := o.transform == "tf_crop_and_resize"
	if crops {
		// What was extrapolated came from nowhere.
		only := *o
		only.outside = 0
		extrapolate(ctx, &only, plan, g)
	}
	for a, s := range slices.Backward(plan) {
		if s.n == s.out && s.scale == 1 && !crops {
			continue
		}
		g = o.sampleAxisBack(s, g, product(shape[:a]), product(shape[a+1:]))
		shape[a] = s.n
	}
	return addWide(o.name, din[0], g)
}

// sampleAxisBack is sampleAxis backwards: dy[outer s.out inner] to [outer s.n inner].
func (o *resize) sampleAxisBack(s sampling, dy []float64, outer, inner int) []float64 {
	dx := make([]float64, outer*s.n*inner)
	var at []int
	var weights []float64
	for i := range s.out {
		at, weights = o.taps(s, o.at(s, i), at, weights)
		for b := range outer {
			row := dy[(b*s.out+i)*inner : (b*s.out+i+1)*inner]
			for k, w := range weights {
				if w != 0 {
					addScaled(dx[(b*s.n+at[k])*inner:(b*s.n+at[k]+1)*inner], w, row)
				}
			}
		}
	}
	return dx
}

// productBack is the backward of ReduceProd: the product of the others, also
// where an element is 0.
func productBack[T float](shape []int, mask []bool, x, dy, dx []T) {
	zeros, others := make([]int, len(dy)), make([]float64, len(dy))
	for j := range others {
		others[j] = 1
	}
	eachReduced(shape, mask, func(i, j int) {
		if x[i] == 0 {
			zeros[j]++
		} else {
			others[j] *= float64(x[i])
		}
	})
	eachReduced(shape, mask, func(i, j int) {
		switch {
		case zeros[j] == 0:
			dx[i] += T(others[j] / float64(x[i]) * float64(dy[j]))
		case zeros[j] == 1 && x[i] == 0:
			dx[i] += T(others[j] * float64(dy[j]))
		}
	})
}
