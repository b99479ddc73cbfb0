package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

func (o matMul) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

func (matMul) BackwardInto(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	p := newBatch(in[0].Tensor.Shape(), in[1].Tensor.Shape())
	if out[0].Tensor.DType() == tensor.Float32 && p.rank <= 1 {
		p.backward32(ctx, in, dout, din, fresh)
		return nil
	}
	clearFresh(din, fresh)
	return byFloat("MatMul", out[0].Tensor.DType(),
		func() { matMulBack(ctx, p, in, dout, din, kernel.Gemm32) },
		func() { matMulBack(ctx, p, in, dout, din, kernel.Gemm64) })
}

func (matMul) InPieces(in, dout []tensor.Value) bool {
	if !present(dout, 0) || in[1].Tensor.DType() != tensor.Float32 {
		return false
	}
	p := newBatch(in[0].Tensor.Shape(), in[1].Tensor.Shape())
	return p.rank == 0 && kernel.SuitsEach32(p.k, p.n, p.m)
}

func (o matMul) BackwardPieces(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool, use func(at int, g []float32)) error {
	if err := o.BackwardInto(ctx, in, out, dout, din, fresh); err != nil {
		return err
	}
	p := newBatch(in[0].Tensor.Shape(), in[1].Tensor.Shape())
	kernel.GemmEach32(ctx.Pool, p.k, p.n, p.m, tensor.Data[float32](in[0].Tensor), 1, p.k, gradient[float32](dout, 0), p.n, 1, use)
	return nil
}

// matMulBack is dA_i += dC_i·B_iᵀ and dB_i += A_iᵀ·dC_i for each product.
func matMulBack[T float](ctx *Ctx, p batch, in, dout, din []tensor.Value, gemm gemmFunc[T]) {
	x, y, dz := tensor.Data[T](in[0].Tensor), tensor.Data[T](in[1].Tensor), gradient[T](dout, 0)
	size := p.m * p.n
	if dx := gradient[T](din, 0); dx != nil {
		p.each(ctx, p.as, func(i, ai, bi int) {
			gemm(ctx.Pool, p.m, p.k, p.n, dz[i*size:], p.n, 1, y[bi:], 1, p.n, dx[ai:], p.k, true)
		})
	}
	if dy := gradient[T](din, 1); dy != nil {
		p.each(ctx, p.bs, func(i, ai, bi int) {
			gemm(ctx.Pool, p.k, p.n, p.m, x[ai:], 1, p.k, dz[i*size:], p.n, 1, dy[bi:], p.n, true)
		})
	}
}

// backward32 is matMulBack for a batch of at most one axis: a list of products,
// or the sum of one where an operand served them all.
func (p *batch) backward32(ctx *Ctx, in, dout, din []tensor.Value, fresh []bool) {
	x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](in[1].Tensor)
	dz := kernel.Matrices32{Data: gradient[float32](dout, 0), Step: p.m * p.n, Row: p.n, Col: 1}
	if dx := gradient[float32](din, 0); dx != nil {
		add := !isFresh(din, fresh, 0)
		bt := kernel.Matrices32{Data: y, Step: p.bs[0], Row: 1, Col: p.n}
		switch {
		case p.rank == 0:
			kernel.Gemm32(ctx.Pool, p.m, p.k, p.n, dz.Data, p.n, 1, y, 1, p.n, dx, p.k, add)
		case p.as[0] == 0:
			kernel.GemmSum32(ctx.Pool, p.count, p.m, p.k, p.n, dz, bt, dx, p.k, add)
		default:
			kernel.GemmBatch32(ctx.Pool, p.count, p.m, p.k, p.n, dz, bt, dx, p.as[0], p.k, add)
		}
	}
	if dy := gradient[float32](din, 1); dy != nil {
		add := !isFresh(din, fresh, 1)
		at := kernel.Matrices32{Data: x, Step: p.as[0], Row: 1, Col: p.k}
		switch {
		case p.rank == 0:
			kernel.Gemm32(ctx.Pool, p.k, p.n, p.m, x, 1, p.k, dz.Data, p.n, 1, dy, p.n, add)
		case p.bs[0] == 0:
			kernel.GemmSum32(ctx.Pool, p.count, p.k, p.n, p.m, at, dz, dy, p.n, add)
		default:
			kernel.GemmBatch32(ctx.Pool, p.count, p.k, p.n, p.m, at, dz, dy, p.bs[0], p.n, add)
		}
	}
}

// each calls f for every product with where its operands begin. Products that
// add to the same place, those with a stride of 0 there, go one after the other.
func (p batch) each(ctx *Ctx, strides [maxBatch]int, f func(i, ai, bi int)) {
	grain := gemmGrain / max(1, p.m*p.n*p.k)
	for i, d := range p.shape[:p.rank] {
		if d > 1 && strides[i] == 0 {
			grain = p.count
		}
	}
	ctx.Pool.For(p.count, grain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ai, bi := p.operands(i)
			f(i, ai, bi)
		}
	})
}
