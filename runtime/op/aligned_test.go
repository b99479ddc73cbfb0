package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestAligned(t *testing.T) {
	under := []*graph.Attr{attrInt("broadcast", 1), attrInt("axis", 1)}
	back := []*graph.Attr{attrInt("broadcast", 1), attrInt("axis", -2)}
	runOpTests(t, []opTest{
		{op: "Add", opset: 6, in: []*tensor.Tensor{list[float32](1, 2), list[float32](10, 20)}, want: []*tensor.Tensor{list[float32](11, 22)}},
		{name: "differs", op: "Add", opset: 6, in: []*tensor.Tensor{counting(2, 2), list[float32](10, 20)}, err: "attribute broadcast is not set"},
		{name: "end", op: "Sub", opset: 6, attrs: under[:1], in: []*tensor.Tensor{counting(2, 2), list[float32](10, 20)},
			want: []*tensor.Tensor{tensor.Of([]float32{-10, -19, -8, -17}, 2, 2)}},
		{name: "axis", op: "Mul", opset: 6, attrs: under, in: []*tensor.Tensor{counting(1, 2, 3), list[float32](1, 10)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 1, 2, 30, 40, 50}, 1, 2, 3)}},
		{name: "axis from the end", op: "Greater", opset: 1, attrs: back, in: []*tensor.Tensor{counting(1, 2, 3), list[float32](1, 4)},
			want: []*tensor.Tensor{tensor.Of([]bool{false, false, true, false, false, true}, 1, 2, 3)}},
		{name: "scalar", op: "Div", opset: 6, attrs: under, in: []*tensor.Tensor{counting(1, 2), tensor.Scalar[float32](2)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 0.5}, 1, 2)}},
		{name: "too long", op: "Pow", opset: 1, attrs: under, in: []*tensor.Tensor{counting(2, 2), counting(2, 2)}, err: "from axis 1 on does not fit into [2 2]"},
		{name: "no axis", op: "Add", opset: 6, attrs: []*graph.Attr{under[0], attrInt("axis", 4)}, in: []*tensor.Tensor{counting(2, 2), counting(2)}, err: "axis 4 is outside rank 2"},
		{name: "channels", op: "PRelu", opset: 6, in: []*tensor.Tensor{tensor.Of([]float32{-1, 2, -3, -4}, 1, 2, 2), list[float32](10, 0.5)},
			want: []*tensor.Tensor{tensor.Of([]float32{-10, 2, -1.5, -2}, 1, 2, 2)}},
		{name: "opset 1", op: "Gemm", opset: 6, attrs: under[:1], in: []*tensor.Tensor{counting(2, 2), counting(2, 1), list[float32](5)},
			want: []*tensor.Tensor{tensor.Of([]float32{6, 8}, 2, 1)}},
	})
	runGradTests(t, []gradTest{
		{op: "Mul", opset: 6, attrs: under, in: []*tensor.Tensor{random(1, 2, 3, 2), random(2, 3)}},
		{op: "PRelu", opset: 6, in: []*tensor.Tensor{random(1, 2, 3, 2), random(2, 3)}},
		{op: "Add", opset: 6, in: []*tensor.Tensor{random(1, 2, 3), random(2, 2, 3)}},
	})
}
