package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestGatherScatter(t *testing.T) {
	x := counting(3, 2) // 0 1 / 2 3 / 4 5
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	f := func(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
	i := func(shape []int, v ...int64) *tensor.Tensor { return tensor.Of(v, shape...) }
	reduce := func(how string) []*graph.Attr { return []*graph.Attr{attrString("reduction", how)} }
	runOpTests(t, []opTest{
		{op: "Gather", opset: 13, in: in(x, i([]int{2}, 2, -3)), want: in(f([]int{2, 2}, 4, 5, 0, 1))},
		{name: "columns", op: "Gather", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: in(x, tensor.Scalar[int32](1)), want: in(list[float32](1, 3, 5))},
		{name: "matrix of indices", op: "Gather", opset: 1, in: in(list("a", "b"), i([]int{2, 2}, 1, 1, 0, 1)), want: in(tensor.Of([]string{"b", "b", "a", "b"}, 2, 2))},
		{name: "outside", op: "Gather", opset: 13, in: in(x, i([]int{1}, 3)), err: "index 3 is outside an axis of 3"},
		{name: "floats", op: "Gather", opset: 13, in: in(x, list[float32](0)), err: "wanted integers"},
		{name: "axis", op: "Gather", opset: 13, attrs: []*graph.Attr{attrInt("axis", 2)}, in: in(x, i([]int{1}, 0)), err: "axis 2 is outside rank 2"},

		{op: "GatherElements", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(x, i([]int{2, 2}, 1, -1, 0, 0)), want: in(f([]int{2, 2}, 2, 5, 0, 1))},
		{name: "columns", op: "GatherElements", opset: 13, attrs: []*graph.Attr{attrInt("axis", 1)}, in: in(x, i([]int{3, 1}, 1, 0, 1)), want: in(f([]int{3, 1}, 1, 2, 5))},
		{name: "beyond", op: "GatherElements", opset: 13, in: in(x, i([]int{1, 3}, 0, 0, 0)), err: "reach beyond float32[3 2] at axis 1"},
		{name: "rank", op: "GatherElements", opset: 13, in: in(x, i([]int{1}, 0)), err: "indices[1] has rank 1, wanted 2"},

		{op: "GatherND", opset: 13, in: in(x, i([]int{2, 2}, 0, 1, -1, 0)), want: in(list[float32](1, 4))},
		{name: "slices", op: "GatherND", opset: 13, in: in(x, i([]int{2, 1}, 2, 0)), want: in(f([]int{2, 2}, 4, 5, 0, 1))},
		{name: "batches", op: "GatherND", opset: 12, attrs: []*graph.Attr{attrInt("batch_dims", 1)}, in: in(x, i([]int{3, 1}, 1, 0, 1)), want: in(list[float32](1, 2, 5))},
		{name: "outside", op: "GatherND", opset: 13, in: in(x, i([]int{1, 2}, 0, 2)), err: "index 2 is outside axis 1 of float32[3 2]"},
		{name: "too deep", op: "GatherND", opset: 13, in: in(x, i([]int{1, 3}, 0, 0, 0)), err: "name 3 axes"},

		{op: "Scatter", opset: 9, in: in(x, i([]int{1, 2}, 1, 2), f([]int{1, 2}, 8, 9)), want: in(f([]int{3, 2}, 0, 1, 8, 3, 4, 9))},
		{op: "ScatterElements", opset: 13, attrs: []*graph.Attr{attrInt("axis", 1)}, in: in(x, i([]int{2, 1}, -1, 0), f([]int{2, 1}, 8, 9)),
			want: in(f([]int{3, 2}, 0, 8, 9, 3, 4, 5))},
		{name: "add", op: "ScatterElements", opset: 16, attrs: reduce("add"), in: in(x, i([]int{2, 1}, 0, 0), f([]int{2, 1}, 8, 9)),
			want: in(f([]int{3, 2}, 17, 1, 2, 3, 4, 5))},
		{name: "max", op: "ScatterElements", opset: 18, attrs: reduce("max"), in: in(list[int8](1, 5), i([]int{2}, 0, 1), list[int8](3, 3)), want: in(list[int8](3, 5))},
		{name: "float16", op: "ScatterElements", opset: 18, attrs: reduce("mul"),
			in: in(as(tensor.Float16, list[float32](2, 3)), i([]int{1}, 1), as(tensor.Float16, list[float32](4))), want: in(as(tensor.Float16, list[float32](2, 12)))},
		{name: "max before 18", op: "ScatterElements", opset: 16, attrs: reduce("max"), in: in(x, i([]int{1, 1}, 0), f([]int{1, 1}, 1)), err: `no reduction "max"`},
		{name: "shapes", op: "ScatterElements", opset: 16, in: in(x, i([]int{1, 1}, 0), f([]int{1, 2}, 1, 2)), err: "indices[1 1] for updates[1 2]"},
		{name: "types", op: "ScatterElements", opset: 16, in: in(x, i([]int{1, 1}, 0), i([]int{1, 1}, 1)), err: "updates are int64, but the data is float32"},
		{op: "ScatterND", opset: 13, in: in(x, i([]int{2, 1}, 2, 0), f([]int{2, 2}, 6, 7, 8, 9)), want: in(f([]int{3, 2}, 8, 9, 2, 3, 6, 7))},
		{name: "later wins", op: "ScatterND", opset: 11, in: in(x, i([]int{2, 2}, 0, 0, 0, 0), list[float32](6, 7)), want: in(f([]int{3, 2}, 7, 1, 2, 3, 4, 5))},
		{name: "min", op: "ScatterND", opset: 18, attrs: reduce("min"), in: in(x, i([]int{1, 2}, 2, 1), list[float32](1)), want: in(f([]int{3, 2}, 0, 1, 2, 3, 4, 1))},
		{name: "shapes", op: "ScatterND", opset: 13, in: in(x, i([]int{2, 1}, 2, 0), f([]int{2, 1}, 6, 7)), err: "updates[2 1], wanted [2 2]"},
		{name: "outside", op: "ScatterND", opset: 13, in: in(x, i([]int{1, 1}, -4), f([]int{1, 2}, 6, 7)), err: "index -4 is outside axis 0"},
	})
}

func TestPad(t *testing.T) {
	x := list[float32](1, 2, 3)
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	mode := func(m string) []*graph.Attr { return []*graph.Attr{attrString("mode", m)} }
	runOpTests(t, []opTest{
		{name: "attributes", op: "Pad", opset: 2, attrs: []*graph.Attr{attrInts("pads", 1, 2), attrFloat("value", 7)}, in: in(x),
			want: in(list[float32](7, 1, 2, 3, 7, 7))},
		{name: "zeros", op: "Pad", opset: 11, in: in(counting(2, 2), list[int64](0, 1, 1, 0)), want: in(tensor.Of([]float32{0, 0, 1, 0, 2, 3, 0, 0, 0}, 3, 3))},
		{name: "value", op: "Pad", opset: 13, in: in(list[int32](5), list[int64](1, 1), tensor.Scalar[int32](9)), want: in(list[int32](9, 5, 9))},
		{name: "strings", op: "Pad", opset: 13, in: in(list("a"), list[int64](0, 1), tensor.Scalar("z")), want: in(list("a", "z"))},
		{name: "axes", op: "Pad", opset: 18, in: in(counting(2, 2), list[int64](1, 0), nil, list[int64](-1)), want: in(tensor.Of([]float32{0, 0, 1, 0, 2, 3}, 2, 3))},
		{name: "crop", op: "Pad", opset: 13, in: in(x, list[int64](-1, 2)), want: in(list[float32](2, 3, 0, 0))},
		{name: "crop all", op: "Pad", opset: 13, in: in(x, list[int64](-5, 3)), want: in(list[float32](0))},
		{name: "reflect", op: "Pad", opset: 13, attrs: mode("reflect"), in: in(x, list[int64](4, 1)), want: in(list[float32](1, 2, 3, 2, 1, 2, 3, 2))},
		{name: "edge", op: "Pad", opset: 13, attrs: mode("edge"), in: in(x, list[int64](2, 1)), want: in(list[float32](1, 1, 1, 2, 3, 3))},
		{name: "wrap", op: "Pad", opset: 19, attrs: mode("wrap"), in: in(x, list[int64](2, 4)), want: in(list[float32](2, 3, 1, 2, 3, 1, 2, 3, 1))},
		{name: "nothing of much", op: "Pad", opset: 13, attrs: mode("edge"), in: in(counting(0, 1), list[int64](0, 1<<40, 0, 0)), want: in(tensor.New(tensor.Float32, 0, 1<<40+1))},
		{name: "wrap before 19", op: "Pad", opset: 18, attrs: mode("wrap"), in: in(x, list[int64](2, 4)), err: `no mode "wrap"`},
		{name: "count", op: "Pad", opset: 13, in: in(x, list[int64](1, 1, 1)), err: "3 pads for 1 axes"},
		{name: "nothing left", op: "Pad", opset: 13, in: in(x, list[int64](-2, -2)), err: "leave nothing of axis 0"},
		{name: "nothing to reflect", op: "Pad", opset: 13, attrs: mode("reflect"), in: in(counting(0), list[int64](1, 0)), err: "has nothing to reflect"},
		{name: "value type", op: "Pad", opset: 13, in: in(x, list[int64](1, 0), tensor.Scalar[int32](9)), err: "input 1 is int32, but input 0 is float32"},
	})
}

func TestGenerators(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	i64 := tensor.Scalar[int64]
	f := func(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
	runOpTests(t, []opTest{
		{op: "Range", opset: 11, in: in(i64(2), i64(9), i64(3)), want: in(list[int64](2, 5, 8))},
		{name: "down", op: "Range", opset: 11, in: in(tensor.Scalar[int32](10), tensor.Scalar[int32](4), tensor.Scalar[int32](-3)), want: in(list[int32](10, 7))},
		{name: "floats", op: "Range", opset: 11, in: in(tensor.Scalar[float32](1), tensor.Scalar[float32](2.1), tensor.Scalar[float32](0.5)), want: in(list[float32](1, 1.5, 2))},
		{name: "empty", op: "Range", opset: 11, in: in(i64(3), i64(3), i64(1)), want: in(list[int64]())},
		{name: "beyond 2^53", op: "Range", opset: 11, in: in(i64(1<<60), i64(1<<60+3), i64(1)), want: in(list[int64](1<<60, 1<<60+1, 1<<60+2))},
		{name: "no step", op: "Range", opset: 11, in: in(i64(0), i64(1), i64(0)), err: "delta is 0"},
		{name: "endless", op: "Range", opset: 11, in: in(tensor.Scalar[float32](0), tensor.Scalar[float32](1), tensor.Scalar[float32](1e-38)), err: "is too much"},
		{op: "EyeLike", opset: 9, attrs: []*graph.Attr{attrInt("k", 1)}, in: in(counting(2, 3)), want: in(f([]int{2, 3}, 0, 1, 0, 0, 0, 1))},
		{name: "type", op: "EyeLike", opset: 9, attrs: []*graph.Attr{attrInt("dtype", 7), attrInt("k", -1)}, in: in(counting(2, 2)),
			want: in(tensor.Of([]int64{0, 0, 1, 0}, 2, 2))},
		{name: "rank", op: "EyeLike", opset: 9, in: in(counting(2)), err: "input[2] has rank 1, wanted 2"},
		{op: "Trilu", opset: 14, in: in(counting(3, 3)), want: in(f([]int{3, 3}, 0, 1, 2, 0, 4, 5, 0, 0, 8))},
		{name: "lower", op: "Trilu", opset: 14, attrs: []*graph.Attr{attrInt("upper", 0)}, in: in(counting(2, 2, 3), i64(-1)),
			want: in(f([]int{2, 2, 3}, 0, 0, 0, 3, 0, 0, 0, 0, 0, 9, 0, 0))},
		{name: "far", op: "Trilu", opset: 14, in: in(counting(2, 2), i64(-1<<63)), want: in(counting(2, 2))},
		{op: "OneHot", opset: 11, in: in(list[int64](1, -1, 3), i64(3), list[float32](0, 5)), want: in(f([]int{3, 3}, 0, 5, 0, 0, 0, 5, 0, 0, 0))},
		{name: "axis", op: "OneHot", opset: 11, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(list[float32](1, 0), list[float32](2), list[int64](8, 9)),
			want: in(tensor.Of([]int64{8, 9, 9, 8}, 2, 2))},
		{name: "values", op: "OneHot", opset: 11, in: in(list[int64](1), i64(3), list[float32](0)), err: "wanted [off on]"},
	})
}

func TestSelection(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	f := func(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
	axis := func(a int64) []*graph.Attr { return []*graph.Attr{attrInt("axis", a)} }
	runOpTests(t, []opTest{
		{op: "NonZero", opset: 13, in: in(f([]int{2, 2}, 0, 3, 4, 0)), want: in(tensor.Of([]int64{0, 1, 1, 0}, 2, 2))},
		{name: "none", op: "NonZero", opset: 13, in: in(tensor.New(tensor.Bool, 2, 0)), want: in(tensor.New(tensor.Int64, 2, 0))},
		{op: "Compress", opset: 11, attrs: axis(1), in: in(counting(2, 3), list(true, false, true)), want: in(f([]int{2, 2}, 0, 2, 3, 5))},
		{name: "list", op: "Compress", opset: 11, in: in(counting(2, 3), list(false, true, false, true)), want: in(list[float32](1, 3))},
		{name: "beyond", op: "Compress", opset: 11, attrs: axis(0), in: in(counting(1, 3), list(false, true)), err: "condition 1 is beyond axis 0"},

		{op: "TopK", opset: 11, in: in(list[float32](1, 3, 3, 2), list[int64](3)), want: in(list[float32](3, 3, 2), list[int64](1, 2, 3))},
		{name: "smallest", op: "TopK", opset: 11, attrs: []*graph.Attr{attrInt("largest", 0), attrInt("axis", 0)}, in: in(tensor.Of([]int64{5, 2, 1, 4}, 2, 2), list[int64](1)),
			want: in(tensor.Of([]int64{1, 2}, 1, 2), tensor.Of([]int64{1, 0}, 1, 2))},
		{name: "attribute", op: "TopK", opset: 9, attrs: []*graph.Attr{attrInt("k", 1)}, in: in(counting(2, 2)), want: in(f([]int{2, 1}, 1, 3), tensor.Of([]int64{1, 1}, 2, 1))},
		{name: "values alone", op: "TopK", opset: 10, in: in(counting(3), list[int64](1)), want: in(list[float32](2))},
		{name: "too many", op: "TopK", opset: 11, in: in(counting(2), list[int64](3)), err: "the top 3 of axis 0 of float32[2]"},

		{op: "Unique", opset: 11, in: in(list[float32](2, 1, 1, 3)),
			want: in(list[float32](1, 2, 3), list[int64](1, 0, 3), list[int64](1, 0, 0, 2), list[int64](2, 1, 1))},
		{name: "as they come", op: "Unique", opset: 11, attrs: []*graph.Attr{attrInt("sorted", 0)}, in: in(list("b", "a", "b")),
			want: in(list("b", "a"), list[int64](0, 1), list[int64](0, 1, 0), list[int64](2, 1))},
		{name: "rows", op: "Unique", opset: 11, attrs: axis(0), in: in(f([]int{3, 2}, 1, 0, 0, 1, 1, 0)),
			want: in(f([]int{2, 2}, 0, 1, 1, 0), list[int64](1, 0), list[int64](1, 0, 1), list[int64](1, 2))},
	})
}

func TestRearrange(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	f := func(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
	block := attrInt("blocksize", 2)
	runOpTests(t, []opTest{
		// Channel c of the input is the constant c; numpy's reshape and
		// transpose of the standard give which goes where.
		{op: "DepthToSpace", opset: 11, attrs: []*graph.Attr{block}, in: in(counting(1, 8, 1, 1)), want: in(f([]int{1, 2, 2, 2}, 0, 2, 4, 6, 1, 3, 5, 7))},
		{name: "CRD", op: "DepthToSpace", opset: 11, attrs: []*graph.Attr{block, attrString("mode", "CRD")}, in: in(counting(1, 8, 1, 1)), want: in(counting(1, 2, 2, 2))},
		{op: "SpaceToDepth", opset: 13, attrs: []*graph.Attr{block}, in: in(f([]int{1, 2, 2, 2}, 0, 2, 4, 6, 1, 3, 5, 7)), want: in(counting(1, 8, 1, 1))},
		{name: "channels", op: "DepthToSpace", opset: 11, attrs: []*graph.Attr{block}, in: in(counting(1, 6, 1, 1)), err: "6 channels do not divide"},
		{name: "plane", op: "SpaceToDepth", opset: 11, attrs: []*graph.Attr{block}, in: in(counting(1, 6, 3, 2)), err: "does not divide into blocks of 2"},
		{op: "ReverseSequence", opset: 10, attrs: []*graph.Attr{attrInt("time_axis", 1), attrInt("batch_axis", 0)}, in: in(counting(2, 3), list[int64](2, 3)),
			want: in(f([]int{2, 3}, 1, 0, 2, 5, 4, 3))},
		{name: "time first", op: "ReverseSequence", opset: 10, in: in(counting(3, 2), list[int64](1, 3)), want: in(f([]int{3, 2}, 0, 5, 2, 3, 4, 1))},
		{name: "too long", op: "ReverseSequence", opset: 10, in: in(counting(3, 2), list[int64](1, 4)), err: "sequence 1 has length 4 of 3"},
	})
}

func TestEinsum(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	eq := func(s string) []*graph.Attr { return []*graph.Attr{attrString("equation", s)} }
	a, b := random(1, 3, 4), random(2, 4, 2)
	ab := in(naiveGemm(a, b, nil, 1, 0, false, false))
	runOpTests(t, []opTest{
		{name: "product", op: "Einsum", opset: 12, attrs: eq("ij, jk -> ik"), in: in(a, b), want: ab, tol: closeTo},
		{name: "implicit", op: "Einsum", opset: 12, attrs: eq("ij,jk"), in: in(a, b), want: ab, tol: closeTo},
		{name: "transpose", op: "Einsum", opset: 12, attrs: eq("ba"), in: in(counting(2, 2)), want: in(tensor.Of([]float32{0, 2, 1, 3}, 2, 2))},
		{name: "trace", op: "Einsum", opset: 12, attrs: eq("ii->"), in: in(counting(3, 3)), want: in(tensor.Scalar[float32](12))},
		{name: "diagonal of a batch", op: "Einsum", opset: 12, attrs: eq("...ii->...i"), in: in(counting(2, 2, 2)), want: in(tensor.Of([]float32{0, 3, 4, 7}, 2, 2))},
		{name: "batches broadcast", op: "Einsum", opset: 12, attrs: eq("...i,...i->..."), in: in(counting(2, 1, 2), counting(2, 2)),
			want: in(tensor.Of([]float32{1, 3, 3, 13}, 2, 2))},
		{name: "three", op: "Einsum", opset: 12, attrs: eq("i,i,i->i"), in: in(list[int64](1, 2), list[int64](3, 4), list[int64](5, 6)), want: in(list[int64](15, 48))},
		{name: "unlike", op: "Einsum", opset: 12, attrs: eq("ij,jk->ik"), in: in(a, a), err: "axis 0 of operand 1 (float32[3 4]) is 4 elsewhere"},
		{name: "rank", op: "Einsum", opset: 12, attrs: eq("ijk->i"), in: in(a), err: `term "ijk" for an operand of rank 2`},
		{name: "label", op: "Einsum", opset: 12, attrs: eq("ij->k"), in: in(a), err: "bad label 'k'"},
		{name: "operands", op: "Einsum", opset: 12, attrs: eq("ij,jk"), in: in(a), err: "found 1 inputs, wanted 2"},
	})
}

func TestIntegerProducts(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	a, b := tensor.Of([]uint8{1, 2, 3, 4}, 2, 2), tensor.Of([]int8{-1, 2, 0, 3}, 2, 2)
	u8, f32 := tensor.Scalar[uint8], tensor.Scalar[float32]
	runOpTests(t, []opTest{
		{op: "MatMulInteger", opset: 10, in: in(a, b), want: in(tensor.Of([]int32{-1, 8, -3, 18}, 2, 2))},
		{name: "zero points", op: "MatMulInteger", opset: 10, in: in(a, b, u8(1), list[int8](1, 2)), want: in(tensor.Of([]int32{-1, 1, -7, 3}, 2, 2))},
		{name: "rows", op: "MatMulInteger", opset: 10, in: in(a, b, list[uint8](1, 3)), want: in(tensor.Of([]int32{0, 3, 0, 3}, 2, 2))},
		{name: "zero point type", op: "MatMulInteger", opset: 10, in: in(a, b, tensor.Scalar[int8](1)), err: "operand 0 and its zero point"},
		// (a − 1)·b = [0 3; −2 13]; times 0.5·2/0.4 and plus 10, saturated.
		{op: "QLinearMatMul", opset: 10, in: in(a, f32(0.5), u8(1), b, f32(2), tensor.Scalar[int8](0), f32(0.4), u8(10)),
			want: in(tensor.Of([]uint8{10, 18, 5, 42}, 2, 2))},
		{name: "saturates", op: "QLinearMatMul", opset: 10, in: in(a, f32(50), u8(1), b, f32(2), tensor.Scalar[int8](0), f32(0.4), u8(10)),
			want: in(tensor.Of([]uint8{10, 255, 0, 255}, 2, 2))},
	})
}
