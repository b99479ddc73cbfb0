package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestBits(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "left", op: "BitShift", opset: 11, attrs: []*graph.Attr{attrString("direction", "LEFT")},
			in:   []*tensor.Tensor{list[uint8](1, 16, 255, 3), list[uint8](2, 4, 1, 9)},
			want: []*tensor.Tensor{list[uint8](4, 0, 254, 0)}},
		{name: "right", op: "BitShift", opset: 11, attrs: []*graph.Attr{attrString("direction", "RIGHT")},
			in:   []*tensor.Tensor{list[uint64](math.MaxUint64, 16), tensor.Scalar[uint64](2)},
			want: []*tensor.Tensor{list[uint64](math.MaxUint64/4, 4)}},
		{name: "sideways", op: "BitShift", opset: 11, attrs: []*graph.Attr{attrString("direction", "UP")},
			in: []*tensor.Tensor{list[uint8](1), list[uint8](1)}, err: `direction is "UP"`},
		{name: "no direction", op: "BitShift", opset: 11,
			in: []*tensor.Tensor{list[uint8](1), list[uint8](1)}, err: "attribute direction is missing"},
		{name: "signed shift", op: "BitShift", opset: 11, attrs: []*graph.Attr{attrString("direction", "LEFT")},
			in: []*tensor.Tensor{list[int8](1), list[int8](1)}, err: "not implemented for int8"},
		{name: "and", op: "BitwiseAnd", opset: 18, in: []*tensor.Tensor{tensor.Of([]int16{-1, 12}, 2, 1), list[int16](5, 10)},
			want: []*tensor.Tensor{tensor.Of([]int16{5, 10, 4, 8}, 2, 2)}},
		{name: "or", op: "BitwiseOr", opset: 18, in: []*tensor.Tensor{list[int64](-8, 1), list[int64](3, 4)},
			want: []*tensor.Tensor{list[int64](-5, 5)}},
		{name: "xor", op: "BitwiseXor", opset: 18, in: []*tensor.Tensor{list[uint32](6), list[uint32](3)},
			want: []*tensor.Tensor{list[uint32](5)}},
		{name: "not", op: "BitwiseNot", opset: 18, in: []*tensor.Tensor{list[int32](0, -1, 5)},
			want: []*tensor.Tensor{list[int32](-1, 0, -6)}},
		{name: "of floats", op: "BitwiseNot", opset: 18, in: []*tensor.Tensor{counting(2)}, err: "not implemented for float32"},
		{name: "before opset 18", op: "BitwiseNot", opset: 17, in: []*tensor.Tensor{list[int32](0)}, err: "not implemented in opset 17"},
	})
}

func TestDet(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "one matrix", op: "Det", opset: 11, in: []*tensor.Tensor{tensor.Of([]float32{0, 2, 3, 4}, 2, 2)},
			want: []*tensor.Tensor{tensor.Scalar[float32](-6)}},
		{name: "a stack", op: "Det", opset: 11, tol: closeTo,
			in:   []*tensor.Tensor{tensor.Of([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 0, 1, 1, 3, 2, 1, 1, 4}, 2, 3, 3)},
			want: []*tensor.Tensor{list(0.0, 18.0)}},
		{name: "no rows", op: "Det", opset: 11, in: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 0, 0)},
			want: []*tensor.Tensor{list[float32](1, 1)}},
		{name: "not square", op: "Det", opset: 11, in: []*tensor.Tensor{counting(2, 3)}, err: "no stack of square matrices"},
		{name: "a vector", op: "Det", opset: 11, in: []*tensor.Tensor{counting(2)}, err: "no stack of square matrices"},
	})
}
