package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
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
// one of which is for every line (row, or column).
func centred(x, zero *tensor.Tensor, columns bool) ([]int32, error) {
	v, ok := intsIn(x)
	if !ok || x.DType().Bits() != 8 {
		return nil, unsupportedType("MatMulInteger", x.DType())
	}
	z := []int{0}
	if zero != nil {
		if z, ok = intsIn(zero); !ok {
			return nil, unsupportedType("MatMulInteger", zero.DType())
		}
	}
	last := 1
	if x.Rank() > 0 {
		last = x.Shape()[x.Rank()-1]
	}
	out := make([]int32, len(v))
	for i, n := range v {
		line := i
		if !columns {
			line = i / last
		}
		out[i] = int32(n - z[line%len(z)])
	}
	return out, nil
}

// integerProduct is the product of two centred operands.
func integerProduct(ctx *Ctx, a, b, aZero, bZero *tensor.Tensor, c []int32) error {
	x, err := centred(a, aZero, false)
	if err != nil {
		return err
	}
	y, err := centred(b, bZero, b.Rank() > 1)
	if err != nil {
		return err
	}
	p := newBatch(a.Shape(), b.Shape())
	matMulBatch(ctx, p, tensor.Of(x, len(x)), tensor.Of(y, len(y)), tensor.Of(c, len(c)), gemmInt[int32])
	return nil
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
	acc := make([]int32, y.Len())
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
	switch y.DType() {
	case tensor.Uint8:
		requantize(tensor.Data[uint8](y), acc, scale, zero[0], 0, math.MaxUint8)
	case tensor.Int8:
		requantize(tensor.Data[int8](y), acc, scale, zero[0], math.MinInt8, math.MaxInt8)
	default:
		return unsupportedType("QLinearMatMul", y.DType())
	}
	return nil
}

// requantize rounds half to even and saturates.
func requantize[T int8 | uint8](y []T, acc []int32, scale func(i int) float64, zero int, lo, hi float64) {
	for i, v := range acc {
		q := math.RoundToEven(float64(v)*scale(i)) + float64(zero)
		y[i] = T(min(max(q, lo), hi))
	}
}
