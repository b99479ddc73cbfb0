package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestConstant(t *testing.T) {
	none := []*tensor.Tensor{}
	runOpTests(t, []opTest{
		{name: "tensor", op: "Constant", opset: 1, attrs: []*graph.Attr{attrTensor("value", counting(2, 2))}, in: none, want: []*tensor.Tensor{counting(2, 2)}},
		{name: "float", op: "Constant", opset: 12, attrs: []*graph.Attr{attrFloat("value_float", 2)}, want: []*tensor.Tensor{tensor.Scalar[float32](2)}},
		{name: "floats", op: "Constant", opset: 12, attrs: []*graph.Attr{attrFloats("value_floats", 2, 3)}, want: []*tensor.Tensor{list[float32](2, 3)}},
		{name: "int", op: "Constant", opset: 12, attrs: []*graph.Attr{attrInt("value_int", -2)}, want: []*tensor.Tensor{tensor.Scalar[int64](-2)}},
		{name: "ints", op: "Constant", opset: 12, attrs: []*graph.Attr{attrInts("value_ints", 5, 6)}, want: []*tensor.Tensor{list[int64](5, 6)}},
		{name: "string", op: "Constant", opset: 12, attrs: []*graph.Attr{attrString("value_string", "a")}, want: []*tensor.Tensor{tensor.Scalar("a")}},
		{name: "strings", op: "Constant", opset: 12, attrs: []*graph.Attr{{Name: "value_strings", Type: graph.AttrStrings, Strings: [][]byte{[]byte("a"), nil}}},
			want: []*tensor.Tensor{list("a", "")}},
		{name: "nothing", op: "Constant", opset: 12, err: "found 0 attributes with a value"},
		{name: "two", op: "Constant", opset: 12, attrs: []*graph.Attr{attrInt("value_int", 1), attrFloat("value_float", 2)}, err: "found 2 attributes"},
		{name: "zeros", op: "ConstantOfShape", opset: 9, in: []*tensor.Tensor{list[int64](2, 3)}, want: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 3)}},
		{name: "value", op: "ConstantOfShape", opset: 9, attrs: []*graph.Attr{attrTensor("value", list[int64](7))}, in: []*tensor.Tensor{list[int64](3)},
			want: []*tensor.Tensor{list[int64](7, 7, 7)}},
		{name: "scalar", op: "ConstantOfShape", opset: 9, in: []*tensor.Tensor{list[int64]()}, want: []*tensor.Tensor{tensor.Scalar[float32](0)}},
		{name: "negative", op: "ConstantOfShape", opset: 9, in: []*tensor.Tensor{list[int64](2, -3)}, err: "negative dimension -3"},
		{name: "too large", op: "ConstantOfShape", opset: 9, in: []*tensor.Tensor{list[int64](1<<40, 1<<40)}, err: "too many elements"},
	})
}

func TestShapeAndViews(t *testing.T) {
	x := counting(2, 3, 4)
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	runOpTests(t, []opTest{
		{op: "Shape", opset: 13, in: in(x), want: in(list[int64](2, 3, 4))},
		{name: "part", op: "Shape", opset: 15, attrs: []*graph.Attr{attrInt("start", -2), attrInt("end", -1)}, in: in(x), want: in(list[int64](3))},
		{name: "clamped", op: "Shape", opset: 15, attrs: []*graph.Attr{attrInt("start", 1), attrInt("end", 9)}, in: in(x), want: in(list[int64](3, 4))},
		{name: "nothing left", op: "Shape", opset: 15, attrs: []*graph.Attr{attrInt("start", 2), attrInt("end", 1)}, in: in(x), want: in(list[int64]())},
		{name: "no start before 15", op: "Shape", opset: 13, attrs: []*graph.Attr{attrInt("start", 1)}, in: in(x), err: "no attribute start"},
		{op: "Size", opset: 13, in: in(x), want: in(tensor.Scalar[int64](24))},

		{name: "numbers", op: "Reshape", opset: 13, in: in(x, list[int64](4, 6)), want: in(counting(4, 6))},
		{name: "rest", op: "Reshape", opset: 13, in: in(x, list[int64](4, -1)), want: in(counting(4, 6))},
		{name: "copy and rest", op: "Reshape", opset: 13, in: in(x, list[int64](0, -1)), want: in(counting(2, 12))},
		{name: "copy behind", op: "Reshape", opset: 13, in: in(x, list[int64](-1, 3, 0, 1)), want: in(counting(2, 3, 4, 1))},
		{name: "copied zero", op: "Reshape", opset: 13, in: in(counting(0, 3), list[int64](0, -1)), want: in(counting(0, 3))},
		{name: "zero is zero", op: "Reshape", opset: 14, attrs: []*graph.Attr{attrInt("allowzero", 1)}, in: in(counting(0, 3), list[int64](7, 0)), want: in(counting(7, 0))},
		{name: "to scalar", op: "Reshape", opset: 13, in: in(list[float32](5), list[int64]()), want: in(tensor.Scalar[float32](5))},
		{name: "strings", op: "Reshape", opset: 13, in: in(list("a", "b"), list[int64](2, 1)), want: in(tensor.Of([]string{"a", "b"}, 2, 1))},
		{name: "does not fit", op: "Reshape", opset: 13, in: in(x, list[int64](5, 5)), err: "cannot reshape float32[2 3 4] to [5 5]"},
		{name: "does not divide", op: "Reshape", opset: 13, in: in(x, list[int64](5, -1)), err: "cannot reshape float32[2 3 4] to [5 ?]"},
		{name: "two rests", op: "Reshape", opset: 13, in: in(x, list[int64](-1, -1)), err: "more than one -1"},
		{name: "negative", op: "Reshape", opset: 13, in: in(x, list[int64](-2, 12)), err: "negative dimension -2"},
		{name: "copy beyond", op: "Reshape", opset: 13, in: in(x, list[int64](2, 3, 4, 0)), err: "copies dimension 3"},
		{name: "zero and rest", op: "Reshape", opset: 14, attrs: []*graph.Attr{attrInt("allowzero", 1)}, in: in(counting(0, 3), list[int64](0, -1)), err: "both 0 and -1"},

		{op: "Flatten", opset: 13, in: in(x), want: in(counting(2, 12))},
		{name: "all", op: "Flatten", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(x), want: in(counting(1, 24))},
		{name: "from the end", op: "Flatten", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: in(x), want: in(counting(6, 4))},
		{name: "rank", op: "Flatten", opset: 9, attrs: []*graph.Attr{attrInt("axis", 3)}, in: in(x), want: in(counting(24, 1))},
		{name: "beyond", op: "Flatten", opset: 9, attrs: []*graph.Attr{attrInt("axis", 4)}, in: in(x), err: "axis 4 is outside float32[2 3 4]"},

		{name: "all", op: "Squeeze", opset: 11, in: in(counting(1, 3, 1)), want: in(counting(3))},
		{name: "attribute", op: "Squeeze", opset: 11, attrs: []*graph.Attr{attrInts("axes", -1)}, in: in(counting(1, 3, 1)), want: in(counting(1, 3))},
		{name: "input", op: "Squeeze", opset: 13, in: in(counting(1, 3, 1), list[int64](0)), want: in(counting(3, 1))},
		{name: "not 1", op: "Squeeze", opset: 13, in: in(counting(1, 3, 1), list[int64](1)), err: "axis 1 of float32[1 3 1] is not 1"},
		{name: "attribute", op: "Unsqueeze", opset: 11, attrs: []*graph.Attr{attrInts("axes", 0, 3)}, in: in(counting(2, 3)), want: in(counting(1, 2, 3, 1))},
		{name: "input", op: "Unsqueeze", opset: 13, in: in(counting(2, 3), list[int64](-1, 0)), want: in(counting(1, 2, 3, 1))},
		{name: "twice", op: "Unsqueeze", opset: 13, in: in(counting(2), list[int64](0, -3)), err: "twice"},
		{name: "no axes", op: "Unsqueeze", opset: 13, in: in(counting(2)), err: "found 1 inputs, wanted 2"},
		{name: "no axes attribute", op: "Unsqueeze", opset: 11, in: in(counting(2)), err: "attribute axes is missing"},
	})
}

func TestMovement(t *testing.T) {
	x := counting(2, 3)
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	f := func(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
	runOpTests(t, []opTest{
		{op: "Transpose", opset: 13, in: in(x), want: in(f([]int{3, 2}, 0, 3, 1, 4, 2, 5))},
		{name: "perm", op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 1, 2, 0)}, in: in(counting(2, 2, 2)),
			want: in(f([]int{2, 2, 2}, 0, 4, 1, 5, 2, 6, 3, 7))},
		{name: "strings", op: "Transpose", opset: 13, in: in(tensor.Of([]string{"a", "b", "c", "d"}, 2, 2)), want: in(tensor.Of([]string{"a", "c", "b", "d"}, 2, 2))},
		{name: "bytes", op: "Transpose", opset: 13, in: in(tensor.Of([]bool{true, true, false, false}, 2, 2)),
			want: in(tensor.Of([]bool{true, false, true, false}, 2, 2))},
		{name: "complex", op: "Transpose", opset: 13, in: in(tensor.Of([]complex128{1, 2i, 3, 4}, 2, 2)), want: in(tensor.Of([]complex128{1, 3, 2i, 4}, 2, 2))},
		{name: "wrong perm", op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 0, 0)}, in: in(x), err: "name axis 0 twice"},
		{name: "short perm", op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 0)}, in: in(x), err: "does not permute 2 axes"},

		{name: "rows", op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(x, f([]int{1, 3}, 7, 8, 9)),
			want: in(f([]int{3, 3}, 0, 1, 2, 3, 4, 5, 7, 8, 9))},
		{name: "columns", op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: in(x, f([]int{2, 1}, 7, 8)),
			want: in(f([]int{2, 4}, 0, 1, 2, 7, 3, 4, 5, 8))},
		{name: "strings", op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(list("a"), list[string](), list("b")), want: in(list("a", "b"))},
		{name: "unlike", op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(x, counting(2, 2)), err: "[2 3] and [2 2] do not join along axis 0"},
		{name: "ranks", op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)}, in: in(x, counting(2)), err: "do not join"},
		{name: "no axis", op: "Concat", opset: 13, in: in(x), err: "attribute axis is missing"},

		{name: "equal", op: "Split", opset: 11, attrs: []*graph.Attr{attrInt("axis", 1)}, in: in(x), want: in(f([]int{2, 1}, 0, 3), f([]int{2, 1}, 1, 4), f([]int{2, 1}, 2, 5))},
		{name: "attribute", op: "Split", opset: 11, attrs: []*graph.Attr{attrInt("axis", 1), attrInts("split", 2, 1)}, in: in(x),
			want: in(f([]int{2, 2}, 0, 1, 3, 4), f([]int{2, 1}, 2, 5))},
		{name: "input", op: "Split", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: in(x, list[int64](1, 2)),
			want: in(f([]int{2, 1}, 0, 3), f([]int{2, 2}, 1, 2, 4, 5))},
		{name: "uneven", op: "Split", opset: 18, attrs: []*graph.Attr{attrInt("num_outputs", 2)}, in: in(counting(5)),
			want: in(list[float32](0, 1, 2), list[float32](3, 4))},
		{name: "does not divide", op: "Split", opset: 13, in: in(counting(5)), want: in(nil, nil), err: "does not split into 2 equal parts"},
		{name: "sum", op: "Split", opset: 13, in: in(counting(5), list[int64](2, 2)), want: in(nil, nil), err: "split [2 2] adds up to 4"},
		{name: "count", op: "Split", opset: 13, in: in(counting(5), list[int64](2, 3)), want: in(nil), err: "2 sizes for 1 outputs"},

		{name: "attributes", op: "Slice", opset: 9, attrs: []*graph.Attr{attrInts("starts", 0, 1), attrInts("ends", 1, 3)}, in: in(x), want: in(f([]int{1, 2}, 1, 2))},
		{name: "clamped", op: "Slice", opset: 13, in: in(x, list[int64](-9, 1), list[int64](9, math.MaxInt64)), want: in(f([]int{2, 2}, 1, 2, 4, 5))},
		{name: "axes", op: "Slice", opset: 13, in: in(x, list[int32](-1), list[int32](9), list[int32](-1)), want: in(f([]int{2, 1}, 2, 5))},
		{name: "steps", op: "Slice", opset: 13, in: in(counting(7), list[int64](1), list[int64](6), nil, list[int64](2)), want: in(list[float32](1, 3, 5))},
		{name: "backwards", op: "Slice", opset: 13, in: in(counting(5), list[int64](-1), list[int64](math.MinInt64), nil, list[int64](-2)), want: in(list[float32](4, 2, 0))},
		{name: "backwards clamped", op: "Slice", opset: 13, in: in(counting(5), list[int64](9), list[int64](1), nil, list[int64](-1)), want: in(list[float32](4, 3, 2))},
		{name: "least step", op: "Slice", opset: 13, in: in(counting(5), list[int64](9), list[int64](math.MinInt64), nil, list[int64](math.MinInt64)), want: in(list[float32](4))},
		{name: "greatest step", op: "Slice", opset: 13, in: in(counting(5), list[int64](1), list[int64](9), nil, list[int64](math.MaxInt64)), want: in(list[float32](1))},
		{name: "nothing", op: "Slice", opset: 13, in: in(x, list[int64](2), list[int64](1)), want: in(counting(0, 3))},
		{name: "of nothing", op: "Slice", opset: 13, in: in(counting(0), list[int64](5), list[int64](-5), nil, list[int64](-1)), want: in(counting(0))},
		{name: "strings", op: "Slice", opset: 13, in: in(list("a", "b"), list[int64](1), list[int64](2)), want: in(list("b"))},
		{name: "step 0", op: "Slice", opset: 13, in: in(x, list[int64](0), list[int64](1), nil, list[int64](0)), err: "step of axis 0 is 0"},
		{name: "lengths", op: "Slice", opset: 13, in: in(x, list[int64](0, 1), list[int64](1)), err: "not of one length"},
		{name: "axis", op: "Slice", opset: 13, in: in(x, list[int64](0), list[int64](1), list[int64](2)), err: "axis 2 is outside rank 2"},

		{op: "Expand", opset: 13, in: in(f([]int{2, 1}, 1, 2), list[int64](3, 1, 2)), want: in(f([]int{3, 2, 2}, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2))},
		{name: "keeps its own", op: "Expand", opset: 13, in: in(x, list[int64](1, 1)), want: in(x)},
		{name: "unlike", op: "Expand", opset: 13, in: in(x, list[int64](2)), err: "[2 3] and [2] do not broadcast"},
		{op: "Tile", opset: 13, in: in(f([]int{2, 2}, 1, 2, 3, 4), list[int64](1, 2)), want: in(f([]int{2, 4}, 1, 2, 1, 2, 3, 4, 3, 4))},
		{name: "never", op: "Tile", opset: 13, in: in(x, list[int64](0, 2)), want: in(counting(0, 6))},
		{name: "count", op: "Tile", opset: 13, in: in(x, list[int64](2)), err: "1 repeats for float32[2 3]"},
		{name: "negative", op: "Tile", opset: 13, in: in(x, list[int64](-1, 1)), err: "negative"},
	})
}

// TestSymbolicShapes infers the chain by which PyTorch writes the heads of an
// attention, for a batch of unknown size: its shapes must all come out.
func TestSymbolicShapes(t *testing.T) {
	g := graph.New("heads", nil)
	x, _ := g.AddInput("x", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(50), graph.Size(64)))
	add := func(op string, in []*graph.Value, attrs ...*graph.Attr) *graph.Value {
		out, err := g.NewValue(g.FreshName(op), graph.Type{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := g.NewNode("", op, "", in, []*graph.Value{out}, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		g.Append(n)
		return out
	}
	vs := func(v ...*graph.Value) []*graph.Value { return v }
	axis0 := g.NewConst("axis0", list[int64](0))
	dim := func(i int64) *graph.Value {
		return add("Gather", vs(add("Shape", vs(x)), g.NewConst("i", tensor.Scalar(i))), attrInt("axis", 0))
	}
	width := add("Div", vs(dim(2), g.NewConst("heads", tensor.Scalar[int64](4))))
	n := add("Unsqueeze", vs(dim(0), axis0))
	heads := add("Concat", vs(n, g.NewConst("rest", list[int64](-1, 4)), add("Unsqueeze", vs(width, axis0))), attrInt("axis", 0))
	y := add("Reshape", vs(x, heads))
	z := add("Transpose", vs(y), attrInts("perm", 0, 2, 1, 3))
	merged := add("Concat", vs(add("Slice", vs(add("Shape", vs(x)), axis0, g.NewConst("end", list[int64](1)))),
		g.NewConst("minus", list[int64](-1))), attrInt("axis", 0))
	w := add("Reshape", vs(z, merged))
	f, err := Infer(&graph.Model{Graph: g, Opsets: []graph.Opset{{Version: 17}}}, nil)
	if err != nil || len(f.Problems) > 0 {
		t.Fatal(err, f.Problems)
	}
	for v, want := range map[*graph.Value]string{y: "float32[N 50 4 16]", z: "float32[N 4 50 16]", w: "float32[N 3200]"} {
		if got := f.Of(v).String(); got != want {
			t.Errorf("%s is %s, wanted %s", v.Name(), got, want)
		}
	}
	if got := f.Of(width); got.Const == nil || tensor.Data[int64](got.Const)[0] != 16 {
		t.Errorf("the heads' width is %v, wanted the constant 16", got)
	}
}
