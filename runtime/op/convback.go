package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// hasGradient hides conv's Backward, which is not that of integers.
func (o *convInteger) hasGradient() bool { return false }

// Backward undoes convolve's products: dW += dY·colsᵀ and dcols = Wᵀ·dY, which
// is folded into dX; dB is the sum over images and positions.
func (o *conv) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	s, err := o.slides(in[0].Tensor.Shape()[2:], in[1].Tensor.Shape()[2:])
	if err != nil {
		return err
	}
	return byFloat("Conv", out[0].Tensor.DType(),
		func() { convBack(ctx, o, s, in, dout, din, kernel.Gemm32) },
		func() { convBack(ctx, o, s, in, dout, din, kernel.Gemm64) })
}

func convBack[T float](ctx *Ctx, o *conv, s [maxSpatial]slide, in, dout, din []tensor.Value, gemm gemmFunc[T]) {
	x, w := in[0].Tensor, in[1].Tensor
	images, m, c := x.Shape()[0], w.Shape()[0]/o.group, w.Shape()[1]
	taps, plane := product(w.Shape()[2:]), product(x.Shape()[2:])
	places := product(dout[0].Tensor.Shape()[2:])
	src, weights, dy := tensor.Data[T](x), tensor.Data[T](w), gradient[T](dout, 0)
	dx, dw, db := gradient[T](din, 0), gradient[T](din, 1), gradient[T](din, 2)
	k := c * taps
	pointwise := taps == 1 && places == plane && s[0].stride*s[1].stride*s[2].stride == 1
	var cols []T
	if !pointwise {
		cols = make([]T, k*places)
	}
	for i := range images * o.group {
		g := i % o.group
		dz, part := dy[i*m*places:(i+1)*m*places], src[i*c*plane:(i+1)*c*plane]
		if dw != nil {
			if pointwise {
				cols = part
			} else {
				unfold(ctx, s, part, c, cols)
			}
			gemm(ctx.Pool, m, k, places, dz, places, 1, cols, 1, places, dw[g*m*k:], k, true)
		}
		switch {
		case dx == nil:
		case pointwise:
			gemm(ctx.Pool, k, places, m, weights[g*m*k:], 1, k, dz, places, 1, dx[i*c*plane:], places, true)
		default:
			gemm(ctx.Pool, k, places, m, weights[g*m*k:], 1, k, dz, places, 1, cols, places, false)
			foldBack(ctx, s, cols, c, dx[i*c*plane:(i+1)*c*plane])
		}
	}
	if db != nil {
		for i := range images * m * o.group {
			db[i%len(db)] += sumOf(dy[i*places : (i+1)*places])
		}
	}
}

// foldBack is unfold backwards: it adds each element of cols to where unfold
// takes it from.
func foldBack[T float](ctx *Ctx, s [maxSpatial]slide, cols []T, c int, dx []T) {
	z, y, w := s[0], s[1], s[2]
	taps := z.kernel * y.kernel * w.kernel
	places, plane := z.out*y.out*w.out, z.in*y.in*w.in
	// The taps of one channel add to the same places: a task is a channel.
	ctx.Pool.For(c, max(1, gemmGrain/16/max(1, places*taps)), func(lo, hi int) {
		for r := lo * taps; r < hi*taps; r++ {
			tap := r % taps
			tz, ty, tx := tap/(y.kernel*w.kernel), tap/w.kernel%y.kernel, tap%w.kernel
			row := cols[r*places : (r+1)*places]
			image := dx[r/taps*plane : (r/taps+1)*plane]
			for oz := range z.out {
				for oy := range y.out {
					iz, iy := oz*z.stride+tz*z.dilation-z.before, oy*y.stride+ty*y.dilation-y.before
					if iz < 0 || iz >= z.in || iy < 0 || iy >= y.in {
						continue
					}
					line := row[(oz*y.out+oy)*w.out : (oz*y.out+oy+1)*w.out]
					to := image[(iz*y.in+iy)*w.in : (iz*y.in+iy+1)*w.in]
					at := tx*w.dilation - w.before
					for _, g := range line {
						if at >= 0 && at < w.in {
							to[at] += g
						}
						at += w.stride
					}
				}
			}
		}
	})
}
