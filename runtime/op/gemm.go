package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// gemm is Y[M N] = alpha·A'·B' + beta·C, where A'[M K] and B'[K N] are A and B
// or their transposes, and C broadcasts to [M N] or, from opset 11 on, may be
// left out.
type gemm struct {
	alpha, beta    float32
	transA, transB bool
	needC          bool
}

func parseGemm(a *attrs) Op {
	if a.opset < 7 {
		a.bool("broadcast", false) // of C, which broadcasts anyhow
	}
	return &gemm{alpha: a.float("alpha", 1), beta: a.float("beta", 1),
		transA: a.bool("transA", false), transB: a.bool("transB", false), needC: a.opset < 11}
}

func (o *gemm) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	least := 2
	if o.needC {
		least = 3
	}
	if err := arity(in, least, 3); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	m, k, err := matrixDims(in[0], "A", o.transA)
	if err != nil {
		return nil, err
	}
	k2, n, err := matrixDims(in[1], "B", o.transB)
	if err != nil {
		return nil, err
	}
	if differ(k, k2) {
		return nil, fmt.Errorf("%s do not multiply%s", formatAB(in[0].Type, in[1].Type), o.transposes())
	}
	if given(in, 2) && in[2].Ranked {
		if err := intoShape(in[2].Shape, m, n); err != nil {
			return nil, err
		}
	}
	return tensorFact(d, m, n), nil
}

// transposes says in errors which operands are transposed.
func (o *gemm) transposes() string {
	switch {
	case o.transA && o.transB:
		return " (both transposed)"
	case o.transA:
		return " (A transposed)"
	case o.transB:
		return " (B transposed)"
	}
	return ""
}

// matrixDims is the rows and columns of a matrix or its transpose.
func matrixDims(f graph.Fact, name string, trans bool) (rows, cols graph.Dim, err error) {
	if err := withRank(f, name, 2); err != nil {
		return rows, cols, err
	}
	if !f.Ranked {
		return graph.Unknown, graph.Unknown, nil
	}
	if trans {
		return f.Shape[1], f.Shape[0], nil
	}
	return f.Shape[0], f.Shape[1], nil
}

// intoShape fails where C does not broadcast to [m n].
func intoShape(c []graph.Dim, m, n graph.Dim) error {
	want := []graph.Dim{m, n}
	bad := len(c) > 2
	for i := 1; i <= len(c) && !bad; i++ {
		d := c[len(c)-i]
		bad = !d.Is(1) && differ(d, want[2-i])
	}
	if bad {
		return fmt.Errorf("C%s does not broadcast to %s", graph.FormatShape(c, true), graph.FormatShape(want, true))
	}
	return nil
}

func (o *gemm) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, y := in[0].Tensor, in[1].Tensor, out[0].Tensor
	var c *tensor.Tensor
	if present(in, 2) && o.beta != 0 {
		c = in[2].Tensor
	}
	switch y.DType() {
	case tensor.Float32:
		gemmForward(ctx, o, a, b, c, y, kernel.Gemm32)
	case tensor.Float64:
		gemmForward(ctx, o, a, b, c, y, kernel.Gemm64)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		// Scaling integers by alpha is not defined unless alpha is one itself.
		if o.alpha != 1 || o.beta != 1 {
			return unsupportedType("Gemm", y.DType())
		}
		switch y.DType() {
		case tensor.Int32:
			gemmForward(ctx, o, a, b, c, y, gemmInt[int32])
		case tensor.Int64:
			gemmForward(ctx, o, a, b, c, y, gemmInt[int64])
		case tensor.Uint32:
			gemmForward(ctx, o, a, b, c, y, gemmInt[uint32])
		case tensor.Uint64:
			gemmForward(ctx, o, a, b, c, y, gemmInt[uint64])
		default:
			return unsupportedType("Gemm", y.DType())
		}
	}
	return nil
}

func gemmForward[T float32 | float64 | int32 | int64 | uint32 | uint64](ctx *Ctx, o *gemm, a, b, c, y *tensor.Tensor, gemm gemmFunc[T]) {
	strides := func(t *tensor.Tensor, trans bool) (rs, cs int) {
		if trans {
			return 1, t.Shape()[1]
		}
		return t.Shape()[1], 1
	}
	ars, acs := strides(a, o.transA)
	brs, bcs := strides(b, o.transB)
	m, n, k := y.Shape()[0], y.Shape()[1], a.Shape()[1]
	if o.transA {
		k = a.Shape()[0]
	}
	z := tensor.Data[T](y)
	gemm(ctx.Pool, m, n, k, tensor.Data[T](a), ars, acs, tensor.Data[T](b), brs, bcs, z, n, false)
	alpha, beta := T(o.alpha), T(o.beta)
	if o.alpha != 1 {
		for i := range z {
			z[i] *= alpha
		}
	}
	if c == nil {
		return
	}
	x := tensor.Data[T](c)
	newWalk(y.Shape(), c.Shape()).rows(func(at, n int, offs, steps []int) {
		row, i := z[at:at+n], offs[0]
		switch {
		case steps[0] == 1 && beta == 1:
			for k, v := range x[i : i+n] {
				row[k] += v
			}
		default:
			for k := range row {
				row[k] += beta * x[i]
				i += steps[0]
			}
		}
	})
}

func (o *gemm) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

func (o *gemm) BackwardInto(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	return byFloat("Gemm", out[0].Tensor.DType(),
		func() { gemmBack(ctx, o, in, dout, din, fresh, kernel.Gemm32, kernel.GemmSplit32) },
		func() { gemmBack(ctx, o, in, dout, din, fresh, kernel.Gemm64, kernel.Gemm64) })
}

// gemmBack is dA' += α·dY·B'ᵀ, dB' += α·A'ᵀ·dY and dC += β·dY; the gradient of
// a transposed operand is the transposed product.
func gemmBack[T float](ctx *Ctx, o *gemm, in, dout, din []tensor.Value, fresh []bool, gemm, byWeight gemmFunc[T]) {
	a, b, dy := in[0].Tensor, in[1].Tensor, gradient[T](dout, 0)
	m, n := dout[0].Tensor.Shape()[0], dout[0].Tensor.Shape()[1]
	aRows, aCols := a.Shape()[0], a.Shape()[1]
	bRows, bCols := b.Shape()[0], b.Shape()[1]
	dz := dy // α·dY
	if o.alpha != 1 && (present(din, 0) || present(din, 1)) {
		dz = make([]T, len(dy))
		addScaled(dz, T(o.alpha), dy)
	}
	if da := gradient[T](din, 0); da != nil {
		rs, cs := bCols, 1 // of B'
		if o.transB {
			rs, cs = 1, bCols
		}
		add := !isFresh(din, fresh, 0)
		if o.transA {
			gemm(ctx.Pool, aRows, aCols, n, tensor.Data[T](b), rs, cs, dz, 1, n, da, aCols, add)
		} else {
			byWeight(ctx.Pool, aRows, aCols, n, dz, n, 1, tensor.Data[T](b), cs, rs, da, aCols, add)
		}
	}
	if db := gradient[T](din, 1); db != nil {
		f := weightFactors(o, a, dz, m, n)
		gemm(ctx.Pool, bRows, bCols, m, f.a, f.ars, f.acs, f.b, f.brs, f.bcs, db, bCols, !isFresh(din, fresh, 1))
	}
	if dc := gradient[T](din, 2); dc != nil {
		if isFresh(din, fresh, 2) {
			clear(dc)
		}
		addReduced(dc, in[2].Tensor.Shape(), T(o.beta), dy, dout[0].Tensor.Shape())
	}
}

// factors is the operands of a product.
type factors[T float] struct {
	a, b               []T
	ars, acs, brs, bcs int
}

// weightFactors is those of dB = A'ᵀ·dZ, or of its transpose, dZ being of m rows by n.
func weightFactors[T float](o *gemm, a *tensor.Tensor, dz []T, m, n int) factors[T] {
	f := factors[T]{a: tensor.Data[T](a), ars: 1, acs: a.Shape()[1], b: dz, brs: n, bcs: 1}
	if o.transA {
		f.ars, f.acs = m, 1
	}
	if o.transB {
		f.a, f.ars, f.acs, f.b, f.brs, f.bcs = f.b, f.bcs, f.brs, f.a, f.acs, f.ars
	}
	return f
}

func (o *gemm) InPieces(in, dout []tensor.Value) bool {
	if o.alpha != 1 || !present(dout, 0) || in[1].Tensor.DType() != tensor.Float32 {
		return false
	}
	b := in[1].Tensor.Shape()
	return kernel.SuitsEach32(b[0], b[1], dout[0].Tensor.Shape()[0])
}

func (o *gemm) BackwardPieces(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool, use func(at int, g []float32)) error {
	if err := o.BackwardInto(ctx, in, out, dout, din, fresh); err != nil {
		return err
	}
	b, m, n := in[1].Tensor.Shape(), dout[0].Tensor.Shape()[0], dout[0].Tensor.Shape()[1]
	f := weightFactors(o, in[0].Tensor, gradient[float32](dout, 0), m, n)
	kernel.GemmEach32(ctx.Pool, b[0], b[1], m, f.a, f.ars, f.acs, f.b, f.brs, f.bcs, use)
	return nil
}
