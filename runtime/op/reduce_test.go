package op

import (
	"math"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// reference reduces by the definition: for each group its elements in order.
func reference(name string, x *tensor.Tensor, mask []bool) []float64 {
	v, err := tensor.Float64s(x)
	if err != nil {
		panic(err)
	}
	shape := x.Shape()
	groups := map[int][]float64{}
	for i := range v {
		j, rest := 0, i
		for k, stride := range tensor.Strides(shape) {
			if at := rest / stride; !mask[k] {
				j = j*shape[k] + at
			}
			rest %= stride
		}
		groups[j] = append(groups[j], v[i])
	}
	out := make([]float64, len(groups))
	for j, g := range groups {
		sum, abs, squares, prod, powers := 0.0, 0.0, 0.0, 1.0, 0.0
		for _, e := range g {
			sum, abs, squares, prod, powers = sum+e, abs+math.Abs(e), squares+e*e, prod*e, powers+math.Exp(e)
		}
		out[j] = map[string]float64{"ReduceSum": sum, "ReduceMean": sum / float64(len(g)), "ReduceL1": abs, "ReduceL2": math.Sqrt(squares),
			"ReduceSumSquare": squares, "ReduceProd": prod, "ReduceMax": slices.Max(g), "ReduceMin": slices.Min(g),
			"ReduceLogSum": math.Log(sum), "ReduceLogSumExp": math.Log(powers)}[name]
	}
	return out
}

// Every reduction over every subset of axes agrees with the definition, as an
// attribute and as an input.
func TestReduceAllAxes(t *testing.T) {
	x := positive(random(3, 2, 5, 1, 3))
	var tests []opTest
	for name := range foldings {
		for bits := range 1 << 4 {
			mask, axes, kept := make([]bool, 4), []int64{}, slices.Clone(x.Shape())
			for k := range mask {
				if mask[k] = bits>>k&1 == 1; mask[k] {
					axes = append(axes, int64(k)-4*int64(bits&1)) // half of them from the end
					kept[k] = 1
				}
			}
			if len(axes) == 0 {
				continue // none stands for all
			}
			want := tensor.New(tensor.Float32, kept...)
			for i, v := range reference(name, x, mask) {
				tensor.Data[float32](want)[i] = float32(v)
			}
			tests = append(tests, opTest{name: "attribute", op: name, opset: 11, attrs: []*graph.Attr{attrInts("axes", axes...)},
				in: []*tensor.Tensor{x}, want: []*tensor.Tensor{want}, tol: closeTo})
			flat := []int{}
			for k, d := range x.Shape() {
				if !mask[k] {
					flat = append(flat, d)
				}
			}
			squeezed, err := want.Reshaped(flat...)
			if err != nil {
				t.Fatal(err)
			}
			tests = append(tests, opTest{name: "input", op: name, opset: 18, attrs: []*graph.Attr{attrInt("keepdims", 0)},
				in: []*tensor.Tensor{x, list(axes...)}, want: []*tensor.Tensor{squeezed}, tol: closeTo})
		}
	}
	runOpTests(t, tests)
}

func TestReduce(t *testing.T) {
	axis0, noop := attrInts("axes", 0), attrInt("noop_with_empty_axes", 1)
	none := tensor.New(tensor.Float32, 0, 2)
	x := tensor.Of([]float32{1, 2, 3, 4}, 2, 2)
	large := make([]float32, 1<<16)
	for i := range large {
		large[i] = 1 + 1e-4
	}
	one := func(v float32) []*tensor.Tensor { return []*tensor.Tensor{tensor.Of([]float32{v}, 1)} }
	runOpTests(t, []opTest{
		{name: "all", op: "ReduceSum", opset: 11, attrs: []*graph.Attr{attrInt("keepdims", 0)}, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Scalar[float32](10)}},
		{name: "all kept", op: "ReduceMean", opset: 18, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{2.5}, 1, 1)}},
		{name: "no axes", op: "ReduceSum", opset: 13, attrs: []*graph.Attr{noop}, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{x}},
		{name: "no axes", op: "ReduceSumSquare", opset: 18, attrs: []*graph.Attr{noop}, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{1, 4, 9, 16}, 2, 2)}},
		{name: "empty axes", op: "ReduceMax", opset: 18, attrs: []*graph.Attr{noop}, in: []*tensor.Tensor{x, tensor.New(tensor.Int64, 0)}, want: []*tensor.Tensor{x}},
		{name: "empty axes are all", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{x, tensor.New(tensor.Int64, 0)}, want: []*tensor.Tensor{tensor.Of([]float32{10}, 1, 1)}},
		{name: "a scalar", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{tensor.Scalar[float32](3)}, want: []*tensor.Tensor{tensor.Scalar[float32](3)}},
		{name: "long", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{list(large...)}, want: one(65542.556), tol: closeTo},
		{name: "NaN", op: "ReduceMax", opset: 13, in: []*tensor.Tensor{list(1, nan32, 2)}, want: one(nan32), tol: closeTo},
		{name: "negative zero", op: "ReduceMin", opset: 13, in: []*tensor.Tensor{list(0, float32(math.Copysign(0, -1)))}, want: one(float32(math.Copysign(0, -1)))},
		{name: "large powers", op: "ReduceLogSumExp", opset: 13, in: []*tensor.Tensor{list[float32](1000, 1000)}, want: one(1000.6931), tol: closeTo},
		{name: "of infinities", op: "ReduceLogSumExp", opset: 13, in: []*tensor.Tensor{list(-inf32, -inf32)}, want: one(-inf32)},
		{name: "to infinity", op: "ReduceLogSumExp", opset: 13, in: []*tensor.Tensor{list(inf32, 3)}, want: one(inf32)},
		{name: "sum of nothing", op: "ReduceSum", opset: 11, attrs: []*graph.Attr{axis0}, in: []*tensor.Tensor{none}, want: []*tensor.Tensor{tensor.New(tensor.Float32, 1, 2)}},
		{name: "greatest of nothing", op: "ReduceMax", opset: 11, attrs: []*graph.Attr{axis0}, in: []*tensor.Tensor{none}, want: []*tensor.Tensor{tensor.Of([]float32{-inf32, -inf32}, 1, 2)}},
		{name: "least of no integers", op: "ReduceMin", opset: 11, in: []*tensor.Tensor{tensor.New(tensor.Int32, 0)}, want: []*tensor.Tensor{list[int32](math.MaxInt32)}},
		{name: "mean of no integers", op: "ReduceMean", opset: 11, in: []*tensor.Tensor{tensor.New(tensor.Int64, 0)}, want: []*tensor.Tensor{list[int64](0)}},
		{name: "exact integers", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{list[int64](1<<53, 1)}, want: []*tensor.Tensor{list[int64](1<<53 + 1)}},
		{name: "large uint64", op: "ReduceMax", opset: 13, in: []*tensor.Tensor{list[uint64](1<<63, 5)}, want: []*tensor.Tensor{list[uint64](1 << 63)}},
		{name: "integer mean", op: "ReduceMean", opset: 13, in: []*tensor.Tensor{list[int32](-3, -4)}, want: []*tensor.Tensor{list[int32](-3)}},
		{name: "integer norm", op: "ReduceL2", opset: 13, in: []*tensor.Tensor{list[int32](3, -4)}, want: []*tensor.Tensor{list[int32](5)}},
		{name: "magnitudes", op: "ReduceL1", opset: 13, in: []*tensor.Tensor{list[int8](-128, 127)}, want: []*tensor.Tensor{list[int8](-1)}},
		{name: "bool", op: "ReduceMax", opset: 20, in: []*tensor.Tensor{list(false, true)}, want: []*tensor.Tensor{list(true)}},
		{name: "bool", op: "ReduceMin", opset: 20, in: []*tensor.Tensor{list(false, true)}, want: []*tensor.Tensor{list(false)}},
		{name: "bool", op: "ReduceSum", opset: 20, in: []*tensor.Tensor{list(false, true)}, err: "not implemented for bool"},
		{name: "float16", op: "ReduceMean", opset: 13, tol: half, in: []*tensor.Tensor{as(tensor.Float16, list[float32](1, 2))}, want: []*tensor.Tensor{as(tensor.Float16, list[float32](1.5))}},
		{name: "outside", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{x, list[int64](2)}, err: "axis 2 is outside rank 2"},
		{name: "twice", op: "ReduceSum", opset: 11, attrs: []*graph.Attr{attrInts("axes", 1, -1)}, in: []*tensor.Tensor{x}, err: "name axis 1 twice"},
		{name: "axes of floats", op: "ReduceSum", opset: 13, in: []*tensor.Tensor{x, list[float32](1)}, err: "axes are float32[1], wanted int64"},
		{name: "axes too early", op: "ReduceMean", opset: 17, in: []*tensor.Tensor{x, list[int64](1)}, err: "found 2 inputs, wanted 1"},
	})
}

// The number of elements follows from a shape that is only partly a number.
func TestReduceProdOfShape(t *testing.T) {
	o, err := parseOp(opTest{op: "ReduceProd", opset: 11, attrs: []*graph.Attr{attrInt("keepdims", 0)}, in: []*tensor.Tensor{list[int64](1, 1)}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	shape := graph.Fact{Type: graph.TensorType(tensor.Int64, graph.Size(2)), Ints: []graph.Dim{graph.Symbol("N"), graph.Size(49)}}
	out, err := InferNode(o, []graph.Fact{shape}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := out[0].Ints; len(n) != 1 || n[0] != graph.Symbol("N").Mul(graph.Size(49)) {
		t.Errorf("the product is %v, wanted 49*N", n)
	}
}

func TestArgReduceAndCumSum(t *testing.T) {
	x := tensor.Of([]float32{1, 3, 3, 2, 0, 2}, 2, 3)
	last := attrInt("select_last_index", 1)
	runOpTests(t, []opTest{
		{name: "first", op: "ArgMax", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1), attrInt("keepdims", 0)}, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{list[int64](1, 0)}},
		{name: "last", op: "ArgMax", opset: 13, attrs: []*graph.Attr{attrInt("axis", 1), last}, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]int64{2, 2}, 2, 1)}},
		{name: "axis 0", op: "ArgMin", opset: 11, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]int64{0, 1, 1}, 1, 3)}},
		{name: "NaN is not chosen", op: "ArgMin", opset: 13, in: []*tensor.Tensor{list(2, nan32, 1)}, want: []*tensor.Tensor{list[int64](2)}},
		{name: "large integers", op: "ArgMax", opset: 13, in: []*tensor.Tensor{list[int64](1<<53, 1<<53+1)}, want: []*tensor.Tensor{list[int64](1)}},
		{name: "float16", op: "ArgMax", opset: 13, in: []*tensor.Tensor{as(tensor.Float16, list[float32](1, 3, 2))}, want: []*tensor.Tensor{list[int64](1)}},
		{name: "of nothing", op: "ArgMax", opset: 13, in: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}, err: "axis 0 of float32[0 2] is empty"},
		{name: "no groups", op: "ArgMax", opset: 13, attrs: []*graph.Attr{attrInt("axis", 1)}, in: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}, want: []*tensor.Tensor{tensor.New(tensor.Int64, 0, 1)}},
		{name: "outside", op: "ArgMax", opset: 13, attrs: []*graph.Attr{attrInt("axis", 2)}, in: []*tensor.Tensor{x}, err: "axis 2 is outside rank 2"},
		{name: "bool", op: "ArgMax", opset: 13, in: []*tensor.Tensor{list(true)}, err: "not implemented for bool"},

		{name: "last axis", op: "CumSum", opset: 14, in: []*tensor.Tensor{x, tensor.Scalar[int32](-1)}, want: []*tensor.Tensor{tensor.Of([]float32{1, 4, 7, 2, 2, 4}, 2, 3)}},
		{name: "exclusive", op: "CumSum", opset: 11, attrs: []*graph.Attr{attrInt("exclusive", 1)}, in: []*tensor.Tensor{x, list[int64](0)}, want: []*tensor.Tensor{tensor.Of([]float32{0, 0, 0, 1, 3, 3}, 2, 3)}},
		{name: "reverse", op: "CumSum", opset: 14, attrs: []*graph.Attr{attrInt("reverse", 1)}, in: []*tensor.Tensor{list[int32](1, 2, 3), tensor.Scalar[int64](0)}, want: []*tensor.Tensor{list[int32](6, 5, 3)}},
		{name: "reverse exclusive", op: "CumSum", opset: 14, attrs: []*graph.Attr{attrInt("reverse", 1), attrInt("exclusive", 1)}, in: []*tensor.Tensor{list[float64](1, 2, 3), tensor.Scalar[int64](0)}, want: []*tensor.Tensor{list[float64](5, 3, 0)}},
		{name: "float16", op: "CumSum", opset: 14, in: []*tensor.Tensor{as(tensor.Float16, list[float32](1, 2)), tensor.Scalar[int64](0)}, want: []*tensor.Tensor{as(tensor.Float16, list[float32](1, 3))}},
		{name: "outside", op: "CumSum", opset: 14, in: []*tensor.Tensor{x, tensor.Scalar[int64](2)}, err: "axis 2 is outside rank 2"},
		{name: "two axes", op: "CumSum", opset: 14, in: []*tensor.Tensor{x, list[int64](0, 1)}, err: "wanted one integer"},
		{name: "string", op: "CumSum", opset: 14, in: []*tensor.Tensor{list("a"), tensor.Scalar[int64](0)}, err: "not implemented for string"},
	})
}
