package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestNonMaxSuppression(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	// Three boxes: the second covers 2/3 of its union with the first, the
	// third lies apart and is given by its other two corners.
	boxes := tensor.Of([]float32{0, 0, 2, 5, 0, 1, 2, 6, 12, 12, 10, 10}, 1, 3, 4)
	scores := tensor.Of([]float32{0.5, 0.9, 0.7, 0.8, 0.1, 0.2}, 1, 2, 3)
	most, overlap, least := tensor.Scalar[int64], tensor.Scalar[float32], tensor.Scalar[float32]
	rows := func(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)/3, 3) }
	center := tensor.Of([]float32{1, 2.5, 2, 5, 1, 3.5, 2, 5}, 1, 2, 4)
	runOpTests(t, []opTest{
		{op: "NonMaxSuppression", opset: 11, in: in(boxes, scores, most(9), overlap(0.6)), want: in(rows(0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 2))},
		{name: "allowed overlap", op: "NonMaxSuppression", opset: 10, in: in(boxes, scores, most(9), overlap(0.7)),
			want: in(rows(0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 1, 1))},
		{name: "most", op: "NonMaxSuppression", opset: 11, in: in(boxes, scores, most(1), overlap(0.6)), want: in(rows(0, 0, 1, 0, 1, 0))},
		{name: "least score", op: "NonMaxSuppression", opset: 11, in: in(boxes, scores, most(9), overlap(0.6), least(0.7)), want: in(rows(0, 0, 1, 0, 1, 0))},
		{name: "none by default", op: "NonMaxSuppression", opset: 11, in: in(boxes, scores), want: in(rows())},
		{name: "center", op: "NonMaxSuppression", opset: 11, attrs: []*graph.Attr{attrInt("center_point_box", 1)},
			in: in(center, tensor.Of([]float32{1, 2}, 1, 1, 2), most(9), overlap(0.6)), want: in(rows(0, 0, 1))},
		{name: "shapes", op: "NonMaxSuppression", opset: 11, in: in(boxes, counting(1, 2, 4)), err: "boxes[1 3 4] and scores[1 2 4]"},
	})
}
