package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// saves: the running moments that go in reach only the running moments.
func (*batchTrain) saves(want []bool) ([]bool, bool) {
	in := inputs(want, false)
	in[0], in[1] = want[0] || want[1], want[0]
	return in, false
}

// Backward is that of layerNorm over each channel of the whole batch, with
// x̂ = (x − mean)/√(var + ε) and g = dy·scale:
//
//	dx += (g − mean(g) − x̂·mean(g·x̂))/√(var + ε), dscale += Σ dy·x̂, dbias += Σ dy
//
// It has no gradient of the running moments, which are no part of a loss, and
// gives none to those that go in.
func (o *batchTrain) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	for i, name := range []string{"running_mean", "running_var"} {
		if present(dout, i+1) {
			return &Unsupported{OpType: "BatchNormalization", Detail: "with a gradient of " + name}
		}
	}
	if !present(dout, 0) {
		return nil
	}
	return byFloat("BatchNormalization", in[0].Tensor.DType(),
		func() { batchTrainBack[float32](ctx, o, in, dout, din) },
		func() { batchTrainBack[float64](ctx, o, in, dout, din) })
}

func batchTrainBack[T float](ctx *Ctx, o *batchTrain, in, dout, din []tensor.Value) {
	shape := in[0].Tensor.Shape()
	n, c, inner := shape[0], shape[1], product(shape[2:])
	x, dy := tensor.Data[T](in[0].Tensor), gradient[T](dout, 0)
	dx, dscale, dbias := gradient[T](din, 0), gradient[T](din, 1), gradient[T](din, 2)
	count := float64(n * inner)
	if count == 0 {
		return
	}
	ctx.Pool.For(c, max(1, elementGrain/(n*inner)), func(lo, hi int) {
		for ch := lo; ch < hi; ch++ {
			part := func(v []T, i int) []T { return v[(i*c+ch)*inner : (i*c+ch+1)*inner] }
			mean, variance := 0.0, 0.0
			for i := range n {
				for _, v := range part(x, i) {
					mean += float64(v)
				}
			}
			mean /= count
			a, b := 0.0, 0.0 // Σ dy, Σ dy·(x − mean)
			for i := range n {
				g := part(dy, i)
				for j, v := range part(x, i) {
					d := float64(v) - mean
					variance += d * d
					a += float64(g[j])
					b += float64(g[j]) * d
				}
			}
			deviation := math.Sqrt(variance/count + o.epsilon)
			if dscale != nil {
				dscale[ch] += T(b / deviation)
			}
			if dbias != nil {
				dbias[ch] += T(a)
			}
			if dx == nil {
				continue
			}
			s := float64(tensor.Data[T](in[1].Tensor)[ch]) / deviation
			a, b = a/count, b/(count*deviation*deviation)
			for i := range n {
				g, to := part(dy, i), part(dx, i)
				for j, v := range part(x, i) {
					to[j] += T(s * (float64(g[j]) - a - (float64(v)-mean)*b))
				}
			}
		}
	})
}
