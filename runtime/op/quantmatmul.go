package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// matMulInteger is numpy.matmul of 8-bit integers from which zero points are
// taken, into int32. A zero point is a scalar, or one for each row of A or
// column of B.
type matMulInteger struct{}

func parseMatMulInteger(*attrs) Op { return matMulInteger{} }

func (matMulInteger) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 4); err != nil {
		return nil, err
	}
	for i := range 2 {
		if !given(in, 2+i) {
			continue
		}
		if _, err := sameDType([]graph.Fact{in[i], in[2+i]}); err != nil {
			return nil, fmt.Errorf("operand %d and its zero point: %w", i, err)
		}
		if err := perLine(in[2+i], in[i], i, "zero point"); err != nil {
			return nil, err
		}
	}
	shape, ranked, err := matMulShape(in[0].Type, in[1].Type)
	if err != nil {
		return nil, err
	}
	if !ranked {
		return unrankedFact(tensor.Int32), nil
	}
	return tensorFact(tensor.Int32, shape...), nil
}

// perLine checks that p is one number, or one for each row of A (operand 0)
// or column of B (operand 1).
func perLine(p, x graph.Fact, operand int, what string) error {
	n, ok := graph.Product(p.Shape).Const()
	if !p.Ranked || !x.Ranked || !ok || n == 1 || len(x.Shape) == 0 {
		return nil
	}
	lines := graph.Size(1)
	if operand == 1 && len(x.Shape) > 1 {
		lines = x.Shape[len(x.Shape)-1]
	} else if operand == 0 && len(x.Shape) > 1 {
		lines = x.Shape[len(x.Shape)-2]
	}
	if len(p.Shape) > 1 {
		return &Unsupported{OpType: "MatMul", Detail: fmt.Sprintf("with a %s of shape %s", what, graph.FormatShape(p.Shape, true))}
	}
	if differ(lines, graph.Size(n)) {
		return fmt.Errorf("%s%s of operand %d (%s)", what, graph.FormatShape(p.Shape, true), operand, x.Type)
	}
	return nil
}

// centred is the elements of an 8-bit matrix (or stack) less its zero points,
// one of which is for every line (row, or column). They are given back to intScratches.
func centred(ctx *Ctx, x, zero *tensor.Tensor, columns bool) (*[]int32, error) {
	z := []int{0}
	if zero != nil {
		var ok bool
		if z, ok = intsIn(zero); !ok {
			return nil, unsupportedType("MatMulInteger", zero.DType())
		}
	}
	last := 1
	if x.Rank() > 0 {
		last = x.Shape()[x.Rank()-1]
	}
	switch x.DType() {
	case tensor.Uint8:
		return lessZeros(ctx, tensor.Data[uint8](x), z, last, columns), nil
	case tensor.Int8:
		return lessZeros(ctx, tensor.Data[int8](x), z, last, columns), nil
	}
	return nil, unsupportedType("MatMulInteger", x.DType())
}

// lessZeros takes zero points from rows of width elements.
func lessZeros[T int8 | uint8](ctx *Ctx, v []T, zeros []int, width int, columns bool) *[]int32 {
	scratch := intScratches.get(len(v))
	if width == 0 {
		return scratch
	}
	out := *scratch
	ctx.Pool.For(len(v)/width, max(1, elementGrain/width), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row, to := v[r*width:(r+1)*width], out[r*width:(r+1)*width]
			if columns && len(zeros) > 1 {
				for i, n := range row {
					to[i] = int32(int(n) - zeros[i%len(zeros)])
				}
				continue
			}
			zero := int32(zeros[r%len(zeros)])
			if columns {
				zero = int32(zeros[0])
			}
			for i, n := range row {
				to[i] = int32(n) - zero
			}
		}
	})
	return scratch
}

// integerProduct is the product of two centred operands.
func integerProduct(ctx *Ctx, a, b, aZero, bZero *tensor.Tensor, c []int32) error {
	x, err := centred(ctx, a, aZero, false)
	if err != nil {
		return err
	}
	defer intScratches.Put(x)
	y, err := centred(ctx, b, bZero, b.Rank() > 1)
	if err != nil {
		return err
	}
	defer intScratches.Put(y)
	p := newBatch(a.Shape(), b.Shape())
	matMulBatch(ctx, p, tensor.Of(*x, len(*x)), tensor.Of(*y, len(*y)), tensor.Of(c, len(c)), gemmBytes)
	return nil
}

// byteTerms is how many products of numbers from -255 to 255 a float32 adds up without rounding.
const byteTerms = 256

// gemmBytes is gemmInt for matrices of such numbers: float32 products of some terms at a time, which are
// exact in any order, added up as integers.
func gemmBytes(p *kernel.Pool, m, n, k int, a []int32, ars, acs int, b []int32, brs, bcs int, c []int32, ldc int, add bool) {
	if !add && k == 0 {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
	}
	scratch := floatScratches.get((m+n)*min(k, byteTerms) + m*n)
	defer floatScratches.Put(scratch)
	for k0 := 0; k0 < k; k0 += byteTerms {
		terms := min(byteTerms, k-k0)
		x, rest := (*scratch)[:m*terms], (*scratch)[m*terms:]
		y, z := rest[:terms*n], rest[terms*n:terms*n+m*n]
		p.For(m, max(1, elementGrain/terms), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				from, to := a[i*ars+k0*acs:], x[i*terms:(i+1)*terms]
				for l := range to {
					to[l] = float32(from[l*acs])
				}
			}
		})
		p.For(terms, max(1, elementGrain/max(1, n)), func(lo, hi int) {
			for l := lo; l < hi; l++ {
				from, to := b[(k0+l)*brs:], y[l*n:(l+1)*n]
				for j := range to {
					to[j] = float32(from[j*bcs])
				}
			}
		})
		kernel.Gemm32(p, m, n, terms, x, terms, 1, y, n, 1, z, n, false)
		p.For(m, max(1, elementGrain/max(1, n)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				to := c[i*ldc : i*ldc+n]
				if k0 == 0 && !add {
					for j, v := range z[i*n : (i+1)*n] {
						to[j] = int32(v)
					}
					continue
				}
				for j, v := range z[i*n : (i+1)*n] {
					to[j] += int32(v)
				}
			}
		})
	}
}

// optional is the tensor of an input that may be left out.
func optional(in []tensor.Value, i int) *tensor.Tensor {
	if present(in, i) {
		return in[i].Tensor
	}
	return nil
}

func (matMulInteger) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return integerProduct(ctx, in[0].Tensor, in[1].Tensor, optional(in, 2), optional(in, 3), tensor.Data[int32](out[0].Tensor))
}

// qLinearMatMul is numpy.matmul of quantised matrices: A and B with scales
// and zero points, the product requantised with a third pair.
type qLinearMatMul struct{}

func parseQLinearMatMul(*attrs) Op { return qLinearMatMul{} }

func (qLinearMatMul) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 8, 8); err != nil {
		return nil, err
	}
	for i := range 2 {
		if _, err := sameDType([]graph.Fact{in[3*i], in[3*i+2]}); err != nil {
			return nil, fmt.Errorf("operand %d and its zero point: %w", i, err)
		}
		for k, what := range []string{"scale", "zero point"} {
			if err := perLine(in[3*i+1+k], in[3*i], i, what); err != nil {
				return nil, err
			}
		}
	}
	for i, what := range []string{"scale", "zero point"} {
		f := in[6+i]
		if n, ok := graph.Product(f.Shape).Const(); f.Ranked && ok && n != 1 {
			return nil, &Unsupported{OpType: "QLinearMatMul", Detail: "with an output " + what + " for each row"}
		}
	}
	shape, ranked, err := matMulShape(in[0].Type, in[3].Type)
	if err != nil {
		return nil, err
	}
	if !ranked {
		return unrankedFact(in[7].DType), nil
	}
	return tensorFact(in[7].DType, shape...), nil
}

func (qLinearMatMul) Forward(ctx *Ctx, in, out []tensor.Value) error {
	y := out[0].Tensor
	scratch := intScratches.get(y.Len())
	defer intScratches.Put(scratch)
	acc := *scratch
	a, b := in[0].Tensor, in[3].Tensor
	if err := integerProduct(ctx, a, b, in[2].Tensor, in[5].Tensor, acc); err != nil {
		return err
	}
	var scales [3][]float64
	for i, k := range []int{1, 4, 6} {
		var err error
		if scales[i], err = tensor.Float64s(in[k].Tensor); err != nil {
			return err
		}
	}
	zero, ok := intsIn(in[7].Tensor)
	if !ok {
		return unsupportedType("QLinearMatMul", in[7].Tensor.DType())
	}
	rows, cols := 1, 1
	if a.Rank() > 1 {
		rows = a.Shape()[a.Rank()-2]
	}
	if b.Rank() > 1 {
		cols = b.Shape()[b.Rank()-1]
	}
	at := func(s []float64, line int) float64 { return s[line%len(s)] }
	scale := func(i int) float64 {
		// ONNX's reference scales in float32.
		return float64(float32(at(scales[0], i/cols%rows)*at(scales[1], i%cols)) / float32(scales[2][0]))
	}
	run := 1
	if len(scales[1]) == 1 {
		run = cols
	}
	switch y.DType() {
	case tensor.Uint8:
		requantize(ctx, tensor.Data[uint8](y), acc, run, scale, zero[0], 0, math.MaxUint8)
	case tensor.Int8:
		requantize(ctx, tensor.Data[int8](y), acc, run, scale, zero[0], math.MinInt8, math.MaxInt8)
	default:
		return unsupportedType("QLinearMatMul", y.DType())
	}
	return nil
}

// requantize rounds half to even and saturates. run elements in a row have the scale of the first.
func requantize[T int8 | uint8](ctx *Ctx, y []T, acc []int32, run int, scale func(i int) float64, zero int, lo, hi float64) {
	ctx.Pool.For(len(acc), elementGrain/4, func(first, end int) {
		for first < end {
			stop := min(end, (first/run+1)*run)
			by, add := scale(first), float64(zero)
			to := y[first:stop]
			for i, n := range acc[first:stop] {
				q := math.RoundToEven(float64(n)*by) + add
				to[i] = T(int32(min(max(q, lo), hi)))
			}
			first = stop
		}
	})
}
