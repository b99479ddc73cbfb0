package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestNorms(t *testing.T) {
	x := tensor.Of([]float32{1, 3, -1, 1}, 2, 2)
	eps := attrFloat("epsilon", 0)
	runOpTests(t, []opTest{
		{name: "rows", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{eps}, tol: closeTo,
			in: []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 10)},
			want: []*tensor.Tensor{tensor.Of([]float32{-1, 12, -1, 12}, 2, 2),
				tensor.Of([]float32{2, 0}, 2, 1), tensor.Of([]float32{1, 1}, 2, 1)}},
		{name: "scale of rank 2", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{eps, attrInt("axis", 0)}, tol: approximate,
			in:   []*tensor.Tensor{x, tensor.Of([]float32{1, 1, 1, 2}, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 1.4142135, -1.4142135, 0}, 2, 2)}},
		{name: "scale of another type", op: "LayerNormalization", opset: 17,
			in: []*tensor.Tensor{x, list[float64](1, 2)}, err: "input 1 is float64, but input 0 is float32"},
		{name: "scale too large", op: "LayerNormalization", opset: 17,
			in: []*tensor.Tensor{counting(2), counting(2, 2)}, err: "does not broadcast into the input"},
		{name: "by given moments", op: "BatchNormalization", opset: 15, attrs: []*graph.Attr{eps}, tol: closeTo,
			in:   []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 1), list[float32](1, 0), list[float32](4, 1)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 7, -1, 3}, 2, 2)}},
		{name: "a mean missing", op: "BatchNormalization", opset: 15,
			in:  []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 1), list[float32](1), list[float32](4, 1)},
			err: "wanted [2]"},
		{name: "moments of another type", op: "BatchNormalization", opset: 15,
			in:  []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 1), list(1.0, 0), list[float32](4, 1)},
			err: "input 3 is float64"},
		{name: "for each position", op: "BatchNormalization", opset: 7, attrs: []*graph.Attr{attrInt("spatial", 0)},
			in:  []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 1), list[float32](1, 0), list[float32](4, 1)},
			err: "spatial = 0"},
		{name: "no groups", op: "GroupNormalization", opset: 21, attrs: []*graph.Attr{attrInt("num_groups", 0)},
			in: []*tensor.Tensor{x, list[float32](1, 1), list[float32](0, 0)}, err: "num_groups is 0"},
		{name: "one group", op: "GroupNormalization", opset: 21, attrs: []*graph.Attr{eps, attrInt("num_groups", 1)}, tol: closeTo,
			in:   []*tensor.Tensor{x, list[float32](1, 2), list[float32](0, 0)},
			want: []*tensor.Tensor{tensor.Of([]float32{-1, 2, -1, 2}, 2, 2)}},
		{name: "L1, a zero row", op: "LpNormalization", opset: 1, attrs: []*graph.Attr{attrInt("p", 1)}, tol: closeTo,
			in:   []*tensor.Tensor{tensor.Of([]float32{3, -1, 0, 0}, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{0.75, -0.25, 0, 0}, 2, 2)}},
		{name: "an empty axis", op: "LpNormalization", opset: 1, attrs: []*graph.Attr{attrInt("axis", 0)},
			in: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}, want: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}},
		{name: "no rows to sample", op: "Multinomial", opset: 7, attrs: []*graph.Attr{attrInt("sample_size", 0)},
			in: []*tensor.Tensor{x}, err: "sample_size is 0"},
	})
}
