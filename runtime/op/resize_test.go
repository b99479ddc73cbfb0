package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestResize(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	attrs := func(mode string, more ...*graph.Attr) []*graph.Attr {
		return append([]*graph.Attr{attrString("mode", mode)}, more...)
	}
	transform := func(s string) *graph.Attr { return attrString("coordinate_transformation_mode", s) }
	two, four := list[float32](10, 20), list[float32](1, 2, 3, 4)
	square := tensor.Of([]float32{1, 2, 3, 4}, 2, 2)
	scale := func(s ...float32) *tensor.Tensor { return list(s...) }
	runOpTests(t, []opTest{
		{name: "attribute", op: "Upsample", opset: 7, attrs: []*graph.Attr{attrFloats("scales", 1, 2)}, in: in(square),
			want: in(tensor.Of([]float32{1, 1, 2, 2, 3, 3, 4, 4}, 2, 4))},
		{name: "input", op: "Upsample", opset: 9, attrs: attrs("linear"), in: in(two, scale(2)), want: in(list[float32](10, 15, 20, 20))},
		{name: "opset 10 shrinks upwards", op: "Resize", opset: 10, in: in(four, scale(0.6)), want: in(list[float32](1, 3))},
		{name: "strings", op: "Resize", opset: 13, in: in(list("a", "b"), nil, scale(2)), want: in(list("a", "a", "b", "b"))},
		{name: "sizes", op: "Resize", opset: 13, in: in(square, nil, nil, list[int64](1, 4)), want: in(tensor.Of([]float32{1, 1, 2, 2}, 1, 4))},
		{name: "half pixel", op: "Resize", opset: 13, attrs: attrs("linear"), in: in(two, nil, scale(2)), want: in(list[float32](10, 12.5, 17.5, 20))},
		{name: "align corners", op: "Resize", opset: 13, attrs: attrs("linear", transform("align_corners")), in: in(two, nil, scale(2)),
			want: in(list[float32](10, 40./3, 50./3, 20)), tol: closeTo},
		{name: "asymmetric floor", op: "Resize", opset: 13, attrs: attrs("nearest", transform("asymmetric"), attrString("nearest_mode", "floor")),
			in: in(four, nil, scale(0.5)), want: in(list[float32](1, 3))},
		{name: "one pixel", op: "Resize", opset: 13, attrs: attrs("linear", transform("pytorch_half_pixel")), in: in(four, nil, nil, list[int64](1)),
			want: in(list[float32](1))},
		// Keys' kernel with a = −0.75 at distance 1/4 and 3/4.
		{name: "cubic", op: "Resize", opset: 13, attrs: attrs("cubic"), in: in(list[float32](0, 0, 1, 0, 0), nil, scale(2)), tol: closeTo,
			want: in(list[float32](0, -0.03515625, -0.10546875, 0.26171875, 0.87890625, 0.87890625, 0.26171875, -0.10546875, -0.03515625, 0))},
		{name: "antialias", op: "Resize", opset: 18, attrs: attrs("linear", attrInt("antialias", 1)), in: in(four, nil, scale(0.5)), want: in(list[float32](1.625, 3.375))},
		{name: "outside excluded", op: "Resize", opset: 18, attrs: attrs("linear", attrInt("antialias", 1), attrInt("exclude_outside", 1)), in: in(four, nil, scale(0.5)),
			want: in(list[float32](12./7, 23./7)), tol: closeTo},
		{name: "crop", op: "Resize", opset: 13, attrs: attrs("linear", transform("tf_crop_and_resize"), attrFloat("extrapolation_value", 9)),
			in: in(four, list[float32](0.5, 1.5), nil, list[int64](3)), want: in(list[float32](2.5, 4, 9))},
		{name: "axes", op: "Resize", opset: 18, attrs: attrs("nearest", attrInts("axes", 1)), in: in(square, nil, scale(2)), want: in(tensor.Of([]float32{1, 1, 2, 2, 3, 3, 4, 4}, 2, 4))},
		{name: "aspect", op: "Resize", opset: 18, attrs: attrs("nearest", attrString("keep_aspect_ratio_policy", "not_larger")), in: in(square, nil, nil, list[int64](5, 4)),
			want: in(tensor.Of([]float32{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}, 4, 4))},
		{name: "bytes", op: "Resize", opset: 13, attrs: attrs("linear"), in: in(list[uint8](10, 21), nil, scale(2)), want: in(list[uint8](10, 12, 18, 21))},
		{name: "neither", op: "Resize", opset: 13, in: in(two), err: "neither scales nor sizes"},
		{name: "both", op: "Resize", opset: 13, in: in(two, nil, scale(1), list[int64](2)), err: "both scales and sizes"},
		{name: "count", op: "Resize", opset: 13, in: in(two, nil, scale(1, 1)), err: "2 scales or sizes for 1 axes"},
		{name: "negative", op: "Resize", opset: 13, in: in(two, nil, scale(-1)), err: "scale -1 is not positive"},
		{name: "roi", op: "Resize", opset: 13, attrs: attrs("linear", transform("tf_crop_and_resize")), in: in(two, list(0, float32(math.NaN())), scale(1)), err: "roi has NaN"},
		{name: "mode", op: "Resize", opset: 13, attrs: attrs("best"), in: in(two, nil, scale(1)), err: `attribute mode is "best"`},
	})
}
