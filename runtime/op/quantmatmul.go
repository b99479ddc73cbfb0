package op

import (
	"fmt"

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

// optional is the tensor of an input that may be left out.
func optional(in []tensor.Value, i int) *tensor.Tensor {
	if present(in, i) {
		return in[i].Tensor
	}
	return nil
}

func (matMulInteger) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return byteProduct(ctx, in[0].Tensor, in[1].Tensor, optional(in, 2), optional(in, 3), tensor.Data[int32](out[0].Tensor))
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
	if err := byteProduct(ctx, a, b, in[2].Tensor, in[5].Tensor, acc); err != nil {
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
	width := cols
	// ONNX's reference scales in float32.
	scale := func(row, col int) float64 {
		return float64(float32(scales[0][row%len(scales[0])]*scales[1][col%len(scales[1])]) / float32(scales[2][0]))
	}
	if len(scales[0]) == 1 {
		rows = 1
	}
	if len(scales[1]) == 1 {
		cols = 1
	}
	by := make([]float64, rows*cols)
	for i := range by {
		by[i] = scale(i/cols, i%cols)
	}
	return requantizeTo(ctx, "QLinearMatMul", y, acc, width, cols, by, zero[0])
}

// requantizeTo rounds sums, in rows of width elements, to a tensor of bytes. by is the scales of the rows, which
// are gone through over and over, count to each: one, or one for each element.
func requantizeTo(ctx *Ctx, name string, y *tensor.Tensor, acc []int32, width, count int, by []float64, zero int) error {
	switch y.DType() {
	case tensor.Uint8:
		requantize(ctx, tensor.Data[uint8](y), acc, width, count, by, uint8(zero))
	case tensor.Int8:
		requantize(ctx, tensor.Data[int8](y), acc, width, count, by, int8(zero))
	default:
		return unsupportedType(name, y.DType())
	}
	return nil
}

func requantize[T kernel.Byte](ctx *Ctx, y []T, acc []int32, width, count int, by []float64, zero T) {
	switch {
	case len(by) == 1:
		width = len(acc)
	case width == 1:
		width, count = len(by), len(by)
	}
	ctx.Pool.For(len(acc), elementGrain, func(first, end int) {
		for first < end {
			row, col := first/width, first%width
			stop := min(end, (row+1)*width)
			scale := by[row*count%len(by):][:count]
			if count > 1 {
				scale = scale[col : col+stop-first]
			}
			kernel.Requantize8(y[first:stop], acc[first:stop], scale, zero)
			first = stop
		}
	})
}
