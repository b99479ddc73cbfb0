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
	// The axes of the batch, and the distance of operands along them, 0 where
	// they are broadcast. Axes that both step through alike are one.
	rank   int
	shape  [maxBatch]int
	as, bs [maxBatch]int
}

// maxBatch is more axes than can be told apart: two of more than one element
// that do not merge double the elements.
const maxBatch = 64

// newBatch splits the shapes of numpy.matmul's operands. Where B is a single
// matrix, all of A's are one.
func newBatch(a, b []int) batch {
	p := batch{m: 1, n: 1, k: a[len(a)-1], count: 1}
	if len(a) > 1 {
		p.m = a[len(a)-2]
		a = a[:len(a)-2]
	} else {
		a = nil
	}
	if len(b) > 1 {
		p.n = b[len(b)-1]
		b = b[:len(b)-2]
	} else {
		b = nil
	}
	if product(b) == 1 && len(b) <= len(a) {
		p.m *= product(a)
		return p
	}
	// Axes from the last to the first, each merged into the one behind it where
	// both operands go on as they did.
	for i, sa, sb := 1, p.m*p.k, p.k*p.n; i <= max(len(a), len(b)); i++ {
		da, db := 1, 1
		if i <= len(a) {
			da = a[len(a)-i]
		}
		if i <= len(b) {
			db = b[len(b)-i]
		}
		d, as, bs := max(da, db), sa, sb
		if da == 0 || db == 0 {
			d = 0
		}
		sa, sb = sa*da, sb*db
		if d == 1 {
			continue
		}
		if da == 1 {
			as = 0
		}
		if db == 1 {
			bs = 0
		}
		p.count *= d
		if r := p.rank - 1; r >= 0 && as == p.as[r]*p.shape[r] && bs == p.bs[r]*p.shape[r] {
			p.shape[r] *= d
			continue
		}
		p.shape[p.rank], p.as[p.rank], p.bs[p.rank] = d, as, bs
		p.rank++
	}
	return p
}

// operands is where the matrices of the i-th product begin.
func (p *batch) operands(i int) (a, b int) {
	for x := range p.rank {
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
		if p.rank <= 1 {
			p.forward32(ctx, tensor.Data[float32](a), tensor.Data[float32](b), tensor.Data[float32](c))
			return nil
		}
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

// forward32 computes the products of a batch of at most one axis in one call.
func (p *batch) forward32(ctx *Ctx, x, y, z []float32) {
	if p.rank == 0 {
		kernel.Gemm32(ctx.Pool, p.m, p.n, p.k, x, p.k, 1, y, p.n, 1, z, p.n, false)
		return
	}
	kernel.GemmBatch32(ctx.Pool, p.count, p.m, p.n, p.k, kernel.Matrices32{Data: x, Step: p.as[0], Row: p.k, Col: 1},
		kernel.Matrices32{Data: y, Step: p.bs[0], Row: p.n, Col: 1}, z, p.m*p.n, p.n, false)
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
