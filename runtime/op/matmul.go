package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// matMul is numpy.matmul: matrices in the last two axes, the axes before them
// broadcast; a vector A is a row, a vector B a column, and the axis that this
// adds is not in the result.
type matMul struct{}

func parseMatMul(*attrs) Op { return matMul{} }

func (matMul) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	shape, ranked, err := matMulShape(in[0].Type, in[1].Type)
	if err != nil {
		return nil, err
	}
	if !ranked {
		return unrankedFact(d), nil
	}
	return tensorFact(d, shape...), nil
}

// matMulShape is the shape of numpy.matmul's result.
func matMulShape(a, b graph.Type) (shape []graph.Dim, ranked bool, err error) {
	if !a.Ranked || !b.Ranked {
		return nil, false, nil
	}
	if len(a.Shape) == 0 || len(b.Shape) == 0 {
		return nil, false, fmt.Errorf("%s: a scalar does not multiply as a matrix", formatAB(a, b))
	}
	as, bs := a.Shape, b.Shape
	rowVector, colVector := len(as) == 1, len(bs) == 1
	if rowVector {
		as = []graph.Dim{graph.Size(1), as[0]}
	}
	if colVector {
		bs = []graph.Dim{bs[0], graph.Size(1)}
	}
	na, nb := len(as), len(bs)
	if differ(as[na-1], bs[nb-2]) {
		return nil, false, fmt.Errorf("%s do not multiply", formatAB(a, b))
	}
	shape, _, err = broadcastShapes(graph.TensorType(0, as[:na-2]...), graph.TensorType(0, bs[:nb-2]...))
	if err != nil {
		return nil, false, fmt.Errorf("%s do not multiply: %w", formatAB(a, b), err)
	}
	if !rowVector {
		shape = append(shape, as[na-2])
	}
	if !colVector {
		shape = append(shape, bs[nb-1])
	}
	return shape, true, nil
}

func formatAB(a, b graph.Type) string {
	return "A" + graph.FormatShape(a.Shape, a.Ranked) + " and B" + graph.FormatShape(b.Shape, b.Ranked)
}

// A batch is a list of products C_i[m n] = A_i[m k]·B_i[k n] whose operands
// lie in three tensors.
type batch struct {
	m, n, k, count int
	shape          []int // the axes of the batch
	as, bs         []int // distance of operands along them, 0 where broadcast
}

// newBatch splits the shapes of numpy.matmul's operands. Where B is a single
// matrix, all of A's are one.
func newBatch(a, b []int) batch {
	if len(a) == 1 {
		a = []int{1, a[0]}
	}
	if len(b) == 1 {
		b = []int{b[0], 1}
	}
	na, nb := len(a), len(b)
	p := batch{m: a[na-2], k: a[na-1], n: b[nb-1], count: 1}
	if product(b[:nb-2]) == 1 && nb <= na {
		p.m *= product(a[:na-2])
		return p
	}
	rank := max(na, nb) - 2
	p.shape = make([]int, rank)
	p.as, p.bs = make([]int, rank), make([]int, rank)
	step := func(shape []int, matrix int, strides []int) {
		off := rank - len(shape)
		for i := len(shape) - 1; i >= 0; i-- {
			if shape[i] != 1 {
				strides[off+i] = matrix
				p.shape[off+i] = shape[i]
			}
			matrix *= shape[i]
		}
	}
	for i := range p.shape {
		p.shape[i] = 1
	}
	step(a[:na-2], p.m*p.k, p.as)
	step(b[:nb-2], p.k*p.n, p.bs)
	p.count = product(p.shape)
	return p
}

// operands is where the matrices of the i-th product begin.
func (p batch) operands(i int) (a, b int) {
	for x := len(p.shape) - 1; x >= 0; x-- {
		a += i % p.shape[x] * p.as[x]
		b += i % p.shape[x] * p.bs[x]
		i /= p.shape[x]
	}
	return a, b
}

// gemmGrain is the number of multiplications that are worth a task of their own.
const gemmGrain = 1 << 21

func (o matMul) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	p := newBatch(a.Shape(), b.Shape())
	switch c.DType() {
	case tensor.Float32:
		matMulBatch(ctx, p, a, b, c, kernel.Gemm32)
	case tensor.Float64:
		matMulBatch(ctx, p, a, b, c, kernel.Gemm64)
	case tensor.Int32:
		matMulBatch(ctx, p, a, b, c, gemmInt[int32])
	case tensor.Int64:
		matMulBatch(ctx, p, a, b, c, gemmInt[int64])
	case tensor.Uint32:
		matMulBatch(ctx, p, a, b, c, gemmInt[uint32])
	case tensor.Uint64:
		matMulBatch(ctx, p, a, b, c, gemmInt[uint64])
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("MatMul", c.DType())
	}
	return nil
}

// A gemm is a product of matrices, as kernel.Gemm32 is one.
type gemmFunc[T tensor.Elem] func(p *kernel.Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, c []T, ldc int, add bool)

func matMulBatch[T tensor.Elem](ctx *Ctx, p batch, a, b, c *tensor.Tensor, gemm gemmFunc[T]) {
	x, y, z := tensor.Data[T](a), tensor.Data[T](b), tensor.Data[T](c)
	size := p.m * p.n
	ctx.Pool.For(p.count, gemmGrain/max(1, size*p.k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ai, bi := p.operands(i)
			gemm(ctx.Pool, p.m, p.n, p.k, x[ai:], p.k, 1, y[bi:], p.n, 1, z[i*size:], p.n, false)
		}
	})
}

func (matMul) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat("MatMul", out[0].Tensor.DType(),
		func() { matMulBack(ctx, in, dout, din, kernel.Gemm32) },
		func() { matMulBack(ctx, in, dout, din, kernel.Gemm64) })
}

// matMulBack is dA_i += dC_i·B_iᵀ and dB_i += A_iᵀ·dC_i for each product.
func matMulBack[T float](ctx *Ctx, in, dout, din []tensor.Value, gemm gemmFunc[T]) {
	a, b := in[0].Tensor, in[1].Tensor
	p := newBatch(a.Shape(), b.Shape())
	x, y, dz := tensor.Data[T](a), tensor.Data[T](b), gradient[T](dout, 0)
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

// each calls f for every product with where its operands begin. Products that
// add to the same place, those with a stride of 0 there, go one after the other.
func (p batch) each(ctx *Ctx, strides []int, f func(i, ai, bi int)) {
	grain := gemmGrain / max(1, p.m*p.n*p.k)
	for i, d := range p.shape {
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

// gemmInt is kernel.Gemm32 for integers, which wrap around.
func gemmInt[T integer](_ *kernel.Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, c []T, ldc int, add bool) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if !add {
			clear(row)
		}
		for l := range k {
			v := a[i*ars+l*acs]
			for j := range row {
				row[j] += v * b[l*brs+j*bcs]
			}
		}
	}
}
