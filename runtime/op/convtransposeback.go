package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

func (*convTranspose) saves(want []bool) ([]bool, bool) { return otherFactor(want), false }

// Backward is a convolution: with the columns of dY as unfold makes them,
// dX += W·cols, dW += X·colsᵀ; dB is the sum over images and positions.
func (o *convTranspose) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	s, err := o.slides(in[0].Tensor, in[1].Tensor)
	if err != nil {
		return err
	}
	return byFloat("ConvTranspose", out[0].Tensor.DType(),
		func() { spreadBack(ctx, o, s, in, dout, din, kernel.Gemm32) },
		func() { spreadBack(ctx, o, s, in, dout, din, kernel.Gemm64) })
}

func spreadBack[T float](ctx *Ctx, o *convTranspose, s [maxSpatial]slide, in, dout, din []tensor.Value, gemm gemmFunc[T]) {
	x, w, y := in[0].Tensor, in[1].Tensor, dout[0].Tensor
	images, c, m := x.Shape()[0], x.Shape()[1]/o.group, w.Shape()[1]
	places, plane := product(x.Shape()[2:]), product(y.Shape()[2:])
	rows := m * product(w.Shape()[2:])
	src, weights, dy := tensor.Data[T](x), tensor.Data[T](w), gradient[T](dout, 0)
	dx, dw, db := gradient[T](din, 0), gradient[T](din, 1), gradient[T](din, 2)
	cols := make([]T, rows*places)
	for i := 0; i < images*o.group && (dx != nil || dw != nil); i++ {
		g := i % o.group
		unfold(ctx, s, dy[i*m*plane:(i+1)*m*plane], m, cols)
		if dx != nil {
			gemm(ctx.Pool, c, places, rows, weights[g*c*rows:], rows, 1, cols, places, 1, dx[i*c*places:], places, true)
		}
		if dw != nil {
			gemm(ctx.Pool, c, rows, places, src[i*c*places:], places, 1, cols, 1, places, dw[g*c*rows:], rows, true)
		}
	}
	for i := 0; i < images*m*o.group && db != nil; i++ {
		db[i%len(db)] += sumOf(dy[i*plane : (i+1)*plane])
	}
}
