package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Exporters keep the dimensions of an Expand that are −1 by
// Where(Equal(shape, −1), ones, shape): what that gives is known of a shape
// that is only partly a number.
func TestShapeThroughEqualAndWhere(t *testing.T) {
	n := graph.Symbol("N")
	shape := graph.Fact{Type: graph.TensorType(tensor.Int64, graph.Size(3)), Ints: []graph.Dim{n, graph.Size(7), n.Mul(graph.Size(2))}}
	infer := func(op string, in ...graph.Fact) graph.Fact {
		t.Helper()
		stand := make([]*tensor.Tensor, len(in))
		for i := range stand {
			stand[i] = counting()
		}
		o, err := parseOp(opTest{op: op, opset: 16, in: stand}, 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := InferNode(o, in, 1)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	constant := func(v ...int64) graph.Fact { return graph.FactOf(list(v...)) }
	is := func(f graph.Fact, want ...bool) {
		t.Helper()
		if f.Const == nil || !tensor.Equal(f.Const, list(want...)) {
			t.Errorf("found %v %v, wanted %v", f.Type, f.Const, want)
		}
	}
	never := infer("Equal", shape, constant(-1))
	is(never, false, false, false)
	is(infer("Greater", shape, constant(-1, 6, -5)), true, true, true)
	is(infer("Less", constant(-1, 8, -5), shape), true, false, true)
	is(infer("LessOrEqual", shape, shape), true, true, true)
	for _, undecided := range []graph.Fact{infer("Equal", shape, constant(0)), infer("Less", shape, constant(-1, 8, 3))} {
		if undecided.Const != nil || undecided.DType != tensor.Bool {
			t.Errorf("said %v of what depends on N", undecided.Const)
		}
	}
	kept := infer("Where", never, constant(1, 1, 1), shape)
	for i, d := range shape.Ints {
		if i >= len(kept.Ints) || kept.Ints[i] != d {
			t.Fatalf("Where gives %v, wanted %v", kept.Ints, shape.Ints)
		}
	}
	mixed := infer("Where", graph.FactOf(list(true, false, true)), constant(-1, 1, 4), shape)
	if want := []graph.Dim{graph.Unknown, graph.Size(7), graph.Size(4)}; len(mixed.Ints) != 3 || mixed.Ints[0] != want[0] || mixed.Ints[1] != want[1] || mixed.Ints[2] != want[2] {
		t.Errorf("Where gives %v, wanted %v", mixed.Ints, want)
	}
}

func TestPowAndWhere(t *testing.T) {
	x := list[float32](-2, 0, 3)
	scalar := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	runOpTests(t, []opTest{
		{name: "square", op: "Pow", opset: 13, in: []*tensor.Tensor{x, scalar(2)}, want: []*tensor.Tensor{list[float32](4, 0, 9)}},
		{name: "cube", op: "Pow", opset: 13, in: []*tensor.Tensor{x, scalar(3)}, want: []*tensor.Tensor{list[float32](-8, 0, 27)}},
		{name: "one", op: "Pow", opset: 7, in: []*tensor.Tensor{x, scalar(1)}, want: []*tensor.Tensor{x}},
		{name: "zero", op: "Pow", opset: 13, in: []*tensor.Tensor{x, scalar(0)}, want: []*tensor.Tensor{list[float32](1, 1, 1)}},
		{name: "root", op: "Pow", opset: 13, tol: closeTo, in: []*tensor.Tensor{list[float32](2, 9), scalar(0.5)}, want: []*tensor.Tensor{list[float32](1.41421356, 3)}},
		{name: "reciprocal", op: "Pow", opset: 13, in: []*tensor.Tensor{x, list[int64](-1)}, want: []*tensor.Tensor{list(-0.5, inf32, float32(1)/3)}},
		{name: "float64", op: "Pow", opset: 13, in: []*tensor.Tensor{list(1.5), tensor.Scalar(2.)}, want: []*tensor.Tensor{list(2.25)}},
		{name: "float16", op: "Pow", opset: 13, tol: half, in: []*tensor.Tensor{as(tensor.Float16, x), list[int32](2)}, want: []*tensor.Tensor{as(tensor.Float16, list[float32](4, 0, 9))}},
		{name: "each its own", op: "Pow", opset: 13, tol: closeTo, in: []*tensor.Tensor{x, list[float32](2, 2, -1)}, want: []*tensor.Tensor{list(4, 0, float32(1)/3)}},
		{name: "outer", op: "Pow", opset: 13, in: []*tensor.Tensor{tensor.Scalar[float32](2), list[int64](-1, 3)}, want: []*tensor.Tensor{list[float32](0.5, 8)}},
		{name: "exact integers", op: "Pow", opset: 13, in: []*tensor.Tensor{list[int64](3, -3, 1<<31+1), list[int64](39, 39, 2)},
			want: []*tensor.Tensor{list[int64](4052555153018976267, -4052555153018976267, 1<<62+1<<32+1)}},
		{name: "negative powers", op: "Pow", opset: 13, in: []*tensor.Tensor{list[int32](1, -1, -1, 2, 0), list[int32](-3, -3, -2, -1, -1)},
			want: []*tensor.Tensor{list[int32](1, -1, 1, 0, 0)}},
		{name: "fraction of an integer", op: "Pow", opset: 13, in: []*tensor.Tensor{list[int32](10), scalar(0.5)}, want: []*tensor.Tensor{list[int32](3)}},
		{name: "bool", op: "Pow", opset: 13, in: []*tensor.Tensor{list(true, false), list(true, true)}, err: "not implemented for bool"},
		{name: "shapes", op: "Pow", opset: 13, in: []*tensor.Tensor{x, list[float32](1, 2)}, err: "do not broadcast"},

		{name: "strings", op: "Where", opset: 9, in: []*tensor.Tensor{list(true, false), list("a", "b"), tensor.Scalar("c")}, want: []*tensor.Tensor{list("a", "c")}},
		{name: "complex", op: "Where", opset: 9, in: []*tensor.Tensor{list(false, true), list[complex128](1i, 2i), list[complex128](3)}, want: []*tensor.Tensor{list[complex128](3, 2i)}},
		{name: "all broadcast", op: "Where", opset: 16, in: []*tensor.Tensor{tensor.Of([]bool{true, false}, 2, 1), list[int8](1, 2, 3), tensor.Of([]int8{7, 8}, 2, 1)},
			want: []*tensor.Tensor{tensor.Of([]int8{1, 2, 3, 8, 8, 8}, 2, 3)}},
		{name: "float16", op: "Where", opset: 16, in: []*tensor.Tensor{list(true), as(tensor.Float16, x), as(tensor.Float16, x)}, want: []*tensor.Tensor{as(tensor.Float16, x)}},
		{name: "types", op: "Where", opset: 16, in: []*tensor.Tensor{list(true), x, list[int32](1)}, err: "int32"},

		{name: "of one", op: "Sum", opset: 13, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{x}},
		{name: "of three", op: "Mean", opset: 13, in: []*tensor.Tensor{scalar(3), x, scalar(5)}, want: []*tensor.Tensor{list[float32](2, float32(8)/3, float32(11)/3)}, tol: closeTo},
		{name: "NaN", op: "Max", opset: 13, in: []*tensor.Tensor{list(1, nan32, 2), list(nan32, 1, 1), scalar(0)}, want: []*tensor.Tensor{list(nan32, nan32, 2)}, tol: closeTo},
		{name: "integers", op: "Min", opset: 12, in: []*tensor.Tensor{list[uint64](1<<63, 3), tensor.Scalar[uint64](4)}, want: []*tensor.Tensor{list[uint64](4, 3)}},
	})
}
