package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// Backward adds.
func (o *layerNorm) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

// BackwardInto follows from x̂ = (x − mean)/√(var + ε) and g = dy·scale:
//
//	dx (+)= (g − mean(g) − x̂·mean(g·x̂))/√(var + ε), dscale (+)= Σ dy·x̂, dbias (+)= Σ dy
//
// It has no gradient of the second and third output.
func (o *layerNorm) BackwardInto(ctx *Ctx, in, _, dout, din []tensor.Value, fresh []bool) error {
	for i, name := range []string{"Mean", "InvStdDev"} {
		if present(dout, i+1) {
			return &Unsupported{OpType: "LayerNormalization", Detail: "with a gradient of " + name}
		}
	}
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	into := x.DType() == tensor.Float32 && isFresh(din, fresh, 0)
	for i := range fresh {
		if isFresh(din, fresh, i) && (i > 0 || !into || x.Len() == 0) {
			clear(din[i].Tensor.Bytes())
		}
	}
	var err32, err64 error
	err = byFloat("LayerNormalization", x.DType(),
		func() { err32 = layerNormBack[float32](ctx, o, axis, in, dout, din, into) },
		func() { err64 = layerNormBack[float64](ctx, o, axis, in, dout, din, false) })
	for _, e := range []error{err, err32, err64} {
		if e != nil {
			return e
		}
	}
	return nil
}

func layerNormBack[T float](ctx *Ctx, o *layerNorm, axis int, in, dout, din []tensor.Value, into bool) error {
	x := in[0].Tensor
	rows, n := product(x.Shape()[:axis]), product(x.Shape()[axis:])
	scale, err := broadcastRow[T](in[1].Tensor, x.Shape(), axis)
	if err != nil || n == 0 {
		return err
	}
	src, dy, dx := tensor.Data[T](x), gradient[T](dout, 0), gradient[T](din, 0)
	// Each task has sums of its own, added up in order, so that the result does
	// not depend on the number of threads.
	grain := normGrain(n)
	tasks := (rows + grain - 1) / grain
	var sums []T // per task: of dy·x̂, then of dy
	if present(din, 1) || present(din, 2) {
		sums = make([]T, tasks*2*n)
	}
	if x32, ok := any(src).([]float32); ok {
		layerNormBack32(ctx, rows, n, o.epsilon, x32, any(scale).([]float32), any(dy).([]float32), any(dx).([]float32), into, any(sums).([]float32))
	} else {
		layerNormBackRows(ctx, rows, n, o.epsilon, src, scale, dy, dx, sums)
	}
	if sums == nil {
		return nil
	}
	total := make([]float64, 2*n)
	for i, v := range sums {
		total[i%(2*n)] += float64(v)
	}
	for k := 1; k <= 2; k++ {
		if present(din, k) {
			// The operand is broadcast to the row, perhaps from fewer elements.
			own := in[k].Tensor.Shape()
			for len(own) > x.Rank()-axis {
				own = own[1:]
			}
			d := make([]float64, product(own))
			addReduced(d, own, 1, total[(k-1)*n:k*n], x.Shape()[axis:])
			if err := addWide("LayerNormalization", din[k], d); err != nil {
				return err
			}
		}
	}
	return nil
}

// layerNormBackRows is the gradients of rows of n elements: dx += that by the row,
// and for each task of normGrain rows sums of dy·x̂, then of dy.
func layerNormBackRows[T float](ctx *Ctx, rows, n int, epsilon float64, src, scale, dy, dx, sums []T) {
	grain := normGrain(n)
	ctx.Pool.For(rows, grain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, g := src[i*n:(i+1)*n], dy[i*n:(i+1)*n]
			mean, deviation := moments(row, epsilon)
			if dx != nil {
				normRowBack(dx[i*n:(i+1)*n], row, mean, deviation, func(j int) float64 { return float64(g[j]) * float64(scale[j]) })
			}
			if sums != nil {
				s := sums[lo/grain*2*n : (lo/grain+1)*2*n]
				for j, v := range row {
					s[j] += T(float64(g[j]) * (float64(v) - mean) / deviation)
					s[n+j] += g[j]
				}
			}
		}
	})
}

// normRowBack adds the gradient by a row that was normalised by its own
// moments, where g(j) is the gradient by the j-th normalised element.
func normRowBack[T float](dx, x []T, mean, deviation float64, g func(j int) float64) {
	a, b := 0.0, 0.0
	for j, v := range x {
		a += g(j)
		b += g(j) * (float64(v) - mean)
	}
	n := float64(len(x))
	a /= n
	b /= n * deviation * deviation
	for j, v := range x {
		dx[j] += T((g(j) - a - (float64(v)-mean)*b) / deviation)
	}
}

// Backward is that of an affine map where the moments are inputs, and else
// that of layerNorm for each group of channels.
func (o *channelNorm) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat(o.name, in[0].Tensor.DType(),
		func() { channelNormBack[float32](o, in, dout, din) },
		func() { channelNormBack[float64](o, in, dout, din) })
}

func channelNormBack[T float](o *channelNorm, in, dout, din []tensor.Value) {
	x := in[0].Tensor
	n, c, inner := x.Shape()[0], x.Shape()[1], product(x.Shape()[2:])
	if c*inner == 0 {
		return
	}
	src, scale := tensor.Data[T](x), tensor.Data[T](in[1].Tensor)
	dy, dx := gradient[T](dout, 0), gradient[T](din, 0)
	// Sums over a channel, in float64 until the end: by scale, bias, mean, variance.
	var sums [4][]float64
	for k := range sums {
		if present(din, k+1) {
			sums[k] = make([]float64, len(scale))
		}
	}
	per := 1 // channels to a group
	if o.groups > 0 {
		per = c / o.groups
	}
	for i := 0; i < n*c; i += per {
		var mean, deviation float64
		if o.given {
			mean = float64(tensor.Data[T](in[3].Tensor)[i%c])
			deviation = math.Sqrt(float64(tensor.Data[T](in[4].Tensor)[i%c]) + o.epsilon)
		} else {
			mean, deviation = moments(src[i*inner:(i+per)*inner], o.epsilon)
		}
		at := func(k int) int { // the scale of channel k of all images
			if o.perGroup {
				return k % c / per
			}
			return k % c
		}
		if dx != nil && !o.given {
			part := dy[i*inner : (i+per)*inner]
			normRowBack(dx[i*inner:(i+per)*inner], src[i*inner:(i+per)*inner], mean, deviation,
				func(j int) float64 { return float64(part[j]) * float64(scale[at(i+j/inner)]) })
		}
		for k := i; k < i+per; k++ {
			g, q := dy[k*inner:(k+1)*inner], at(k)
			s := float64(scale[q]) / deviation
			if dx != nil && o.given {
				addScaled(dx[k*inner:(k+1)*inner], T(s), g)
			}
			a, b := 0.0, 0.0 // Σ dy, Σ dy·(x − mean)
			for j, v := range src[k*inner : (k+1)*inner] {
				a += float64(g[j])
				b += float64(g[j]) * (float64(v) - mean)
			}
			for m, d := range [4]float64{b / deviation, a, -s * a, -0.5 * s * b / (deviation * deviation)} {
				if sums[m] != nil {
					sums[m][q] += d
				}
			}
		}
	}
	for k, s := range sums {
		for j, v := range s {
			gradient[T](din, k+1)[j] += T(v)
		}
	}
}
