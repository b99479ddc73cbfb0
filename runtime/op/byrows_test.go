package op

import (
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// asRows is facts of in where those that rowed marks have rows, times what their first
// dimension is of n, along the first axis.
func asRows(in []tensor.Value, rowed []bool, rows graph.Dim, n int) []graph.Fact {
	facts := make([]graph.Fact, len(in))
	for i, v := range in {
		if v.Kind != tensor.KindTensor {
			continue
		}
		if facts[i] = graph.FactOf(v.Tensor); rowed[i] {
			facts[i] = graph.Fact{Type: facts[i].Type}
			facts[i].Shape = slices.Clone(facts[i].Shape)
			facts[i].Shape[0] = rows.Mul(graph.Size(v.Tensor.Shape()[0] / n))
		}
	}
	return facts
}

// follows is ByRows of an op and the tensors that it may get, of n rows each.
func follows(o Op, in []tensor.Value, rowed []bool, n, nOut int) (Cut, bool) {
	rows := graph.Symbol("rows")
	facts := asRows(in, rowed, rows, n)
	out, err := InferNode(o, facts, nOut)
	if err != nil {
		return Uncut, false
	}
	cuts := make([]Cut, len(in))
	for i := range cuts {
		if rowed[i] {
			cuts[i] = InRows
		}
	}
	return ByRows(o, rows, facts, out, cuts)
}

// part is the rows lo … hi-1 of a tensor of n runs of rows.
func partOf(t *testing.T, x *tensor.Tensor, n, lo, hi int) tensor.Value {
	t.Helper()
	shape := slices.Clone(x.Shape())
	shape[0] = shape[0] / n * (hi - lo)
	p := tensor.New(x.DType(), shape...)
	if err := p.SeeFrom(x, x.Len()/n*lo); err != nil {
		t.Fatal(err)
	}
	return tensor.ValueOf(p)
}

// checkByRows runs o in parts for every choice of inputs that ByRows says is in rows.
func checkByRows(t *testing.T, ctx *Ctx, o Op, in, out, dout, start []tensor.Value) {
	t.Helper()
	for i := 1; i < 1<<len(in) && len(in) <= 6; i++ {
		rowed, n := make([]bool, len(in)), 0
		for k, v := range in {
			if rowed[k] = i>>k&1 > 0; !rowed[k] {
				continue
			}
			if v.Kind != tensor.KindTensor || v.Tensor.Rank() == 0 || n > 0 && v.Tensor.Shape()[0] != n {
				n = 0
				break
			}
			n = v.Tensor.Shape()[0]
		}
		if n < 2 {
			continue
		}
		if way, ok := follows(o, in, rowed, n, len(out)); ok && way == InRows {
			checkParts(t, ctx, o, in, out, dout, start, rowed, n)
		}
	}
}

func checkParts(t *testing.T, ctx *Ctx, o Op, in, out, dout, start []tensor.Value, rowed []bool, n int) {
	t.Helper()
	d := AsDifferentiable(o)
	want := backward(t, ctx, d, in, out, dout, start)
	var gradients [][]float64
	results := make([][]float64, len(out))
	for _, p := range [][2]int{{0, n / 2}, {n / 2, n}} {
		cutOf := func(vs []tensor.Value, some []bool) []tensor.Value {
			cs := slices.Clone(vs)
			for i, v := range vs {
				if v.Kind == tensor.KindTensor && (some == nil || some[i]) {
					cs[i] = partOf(t, v.Tensor, n, p[0], p[1])
				}
			}
			return cs
		}
		xs := cutOf(in, rowed)
		ys, err := Eval(ctx, o, xs, len(out))
		if err != nil {
			t.Fatalf("rows %v of inputs %v: %v", p, rowed, err)
		}
		for i, y := range ys {
			v, _ := tensor.Float64s(y.Tensor)
			results[i] = append(results[i], v...)
		}
		g := backward(t, ctx, d, xs, ys, cutOf(dout, nil), cutOf(start, rowed))
		if gradients == nil {
			gradients = g
			continue
		}
		for i, v := range g {
			switch {
			case v == nil:
			case rowed[i]:
				gradients[i] = append(gradients[i], v...)
			default:
				addTo(gradients[i], v)
			}
		}
	}
	for i, v := range out {
		whole, _ := tensor.Float64s(v.Tensor)
		if err := near(results[i], whole, 1e-12); err != nil {
			t.Errorf("output %d in parts of inputs %v: %v", i, rowed, err)
		}
	}
	for i, v := range want {
		if err := near(gradients[i], v, 1e-11); err != nil {
			t.Errorf("gradient of input %d in parts of inputs %v: %v", i, rowed, err)
		}
	}
}

// Which operators keep rows apart, and which look as if they did.
func TestByRows(t *testing.T) {
	x := func(shape ...int) *tensor.Tensor { return random(1, shape...) }
	axis := func(k int64) []*graph.Attr { return []*graph.Attr{attrInt("axis", k)} }
	for _, c := range []struct {
		name  string
		op    string
		attrs []*graph.Attr
		in    []*tensor.Tensor
		rowed []int
		outs  int
		want  bool
	}{
		{op: "Relu", in: tensors{x(4, 3)}, rowed: []int{0}, want: true},
		{op: "Add", in: tensors{x(4, 3), x(3)}, rowed: []int{0}, want: true},
		{op: "Add", in: tensors{x(4, 3), x(1, 3)}, rowed: []int{0}, want: true},
		{op: "Add", in: tensors{x(4, 3), x(4, 3)}, rowed: []int{0, 1}, want: true},
		{name: "a table for one batch", op: "Add", in: tensors{x(4, 3), x(4, 3)}, rowed: []int{0}},
		{name: "rows along the last axis", op: "Add", in: tensors{x(4), x(3, 4)}, rowed: []int{0}},
		{name: "rows against rows", op: "Add", in: tensors{x(4), x(4, 4)}, rowed: []int{0, 1}},
		{op: "Gemm", in: tensors{x(4, 3), x(3, 2), x(2)}, rowed: []int{0}, want: true},
		{op: "Gemm", attrs: []*graph.Attr{attrInt("transB", 1)}, in: tensors{x(4, 3), x(2, 3), x(1, 2)}, rowed: []int{0}, want: true},
		{name: "a sum over rows", op: "Gemm", attrs: []*graph.Attr{attrInt("transA", 1)}, in: tensors{x(4, 3), x(4, 2)}, rowed: []int{0, 1}},
		{name: "rows as columns", op: "Gemm", attrs: []*graph.Attr{attrInt("transB", 1)}, in: tensors{x(2, 3), x(4, 3)}, rowed: []int{1}},
		{name: "a C of the batch's size", op: "Gemm", in: tensors{x(4, 3), x(3, 2), x(4, 2)}, rowed: []int{0}},
		{op: "MatMul", in: tensors{x(4, 3), x(3, 2)}, rowed: []int{0}, want: true},
		{op: "MatMul", in: tensors{x(4, 3), x(3)}, rowed: []int{0}, want: true},
		{op: "MatMul", in: tensors{x(4, 2, 3), x(3, 2)}, rowed: []int{0}, want: true},
		{op: "MatMul", in: tensors{x(4, 2, 3), x(4, 3, 2)}, rowed: []int{0, 1}, want: true},
		{op: "MatMul", in: tensors{x(2, 3), x(4, 3, 2)}, rowed: []int{1}, want: true},
		{op: "MatMul", in: tensors{x(4, 2, 3), x(1, 3, 2)}, rowed: []int{0}, want: true},
		{name: "all rows with all", op: "MatMul", in: tensors{x(4, 3), x(4, 3, 2)}, rowed: []int{0, 1}},
		{name: "a sum over rows", op: "MatMul", in: tensors{x(2, 4), x(4, 3)}, rowed: []int{1}},
		{name: "products for one batch", op: "MatMul", in: tensors{x(4, 2, 3), x(4, 3, 2)}, rowed: []int{0}},
		{op: "Softmax", attrs: axis(-1), in: tensors{x(4, 3)}, rowed: []int{0}, want: true},
		{name: "over rows", op: "Softmax", attrs: axis(0), in: tensors{x(4, 3)}, rowed: []int{0}},
		{op: "LayerNormalization", attrs: axis(-1), in: tensors{x(4, 3), x(3), x(3)}, rowed: []int{0}, want: true},
		{name: "over rows", op: "LayerNormalization", attrs: axis(0), in: tensors{x(4, 3), x(3), x(3)}, rowed: []int{0}},
		{op: "Reshape", in: tensors{x(4, 6), list[int64](-1, 2, 3)}, rowed: []int{0}, want: true},
		{op: "Reshape", in: tensors{x(4, 6), list[int64](0, 6, 1)}, rowed: []int{0}, want: true},
		{name: "several for each", op: "Reshape", in: tensors{x(4, 6), list[int64](-1, 2)}, rowed: []int{0}, want: true},
		{name: "one batch's", op: "Reshape", in: tensors{x(4, 6), list[int64](4, 6)}, rowed: []int{0}},
		{name: "rows last", op: "Reshape", in: tensors{x(4, 6), list[int64](6, -1)}, rowed: []int{0}},
		{op: "Transpose", attrs: []*graph.Attr{attrInts("perm", 0, 2, 1)}, in: tensors{x(4, 2, 3)}, rowed: []int{0}, want: true},
		{name: "rows last", op: "Transpose", in: tensors{x(4, 3)}, rowed: []int{0}},
		{op: "Concat", attrs: axis(1), in: tensors{x(4, 3), x(4, 2)}, rowed: []int{0, 1}, want: true},
		{name: "of rows", op: "Concat", attrs: axis(0), in: tensors{x(4, 3), x(4, 3)}, rowed: []int{0, 1}},
		{op: "Split", attrs: axis(1), in: tensors{x(4, 4)}, rowed: []int{0}, outs: 2, want: true},
		{name: "of rows", op: "Split", attrs: axis(0), in: tensors{x(4, 4)}, rowed: []int{0}, outs: 2},
		{op: "Slice", in: tensors{x(4, 3), list[int64](0), list[int64](2), list[int64](1)}, rowed: []int{0}, want: true},
		{name: "rows backwards", op: "Slice", in: tensors{x(4, 3), list[int64](-1), list[int64](-9), list[int64](0), list[int64](-1)}, rowed: []int{0}},
		{op: "Gather", attrs: axis(1), in: tensors{x(4, 3), list[int64](0, 2)}, rowed: []int{0}, want: true},
		{name: "a table", op: "Gather", in: tensors{x(9, 3), list[int64](0, 2, 5, 1)}, rowed: []int{1}, want: true},
		{name: "of rows", op: "Gather", in: tensors{x(4, 3), list[int64](0, 2)}, rowed: []int{0}},
		{op: "ReduceMean", in: tensors{x(4, 3, 2), list[int64](1)}, rowed: []int{0}, want: true},
		{name: "over rows", op: "ReduceMean", in: tensors{x(4, 3), list[int64](0)}, rowed: []int{0}},
		{op: "Conv", in: tensors{x(4, 2, 5), x(3, 2, 3)}, rowed: []int{0}, want: true},
		{name: "rows as kernels", op: "Conv", in: tensors{x(4, 2, 5), x(4, 2, 3)}, rowed: []int{1}},
		{op: "GlobalAveragePool", in: tensors{x(4, 2, 5)}, rowed: []int{0}, want: true},
		{name: "along rows", op: "CumSum", in: tensors{x(4, 3), tensor.Scalar[int64](0)}, rowed: []int{0}},
	} {
		o, err := parseOp(opTest{op: c.op, opset: 18, attrs: c.attrs, in: c.in}, max(1, c.outs))
		if err != nil {
			t.Fatal(err)
		}
		in, rowed := make([]tensor.Value, len(c.in)), make([]bool, len(c.in))
		for i, v := range c.in {
			in[i] = tensor.ValueOf(v)
		}
		n := 0
		for _, i := range c.rowed {
			rowed[i], n = true, c.in[i].Shape()[0]
		}
		if way, ok := follows(o, in, rowed, n, max(1, c.outs)); ok != c.want || ok && way != InRows {
			t.Errorf("%s %s: found %v, wanted %v", c.op, c.name, ok, c.want)
		}
	}
}

// Sizes follow, what is made of them has rows again; numbers that count rows do not.
func TestByRowsOfSizes(t *testing.T) {
	rows := graph.Symbol("rows")
	batch := graph.Fact{Type: graph.TensorType(tensor.Float32, rows, graph.Size(6))}
	shape := graph.FactOf(list[int64](0))
	sizes, err := InferNode(mustParse(t, "Shape", 18, 1), []graph.Fact{batch}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if way, ok := ByRows(mustParse(t, "Shape", 18, 1), rows, []graph.Fact{batch}, sizes, []Cut{InRows}); way != Sized || !ok {
		t.Errorf("Shape: %v, %v", way, ok)
	}
	for _, c := range []struct {
		op   string
		in   []graph.Fact
		cuts []Cut
		way  Cut
		ok   bool
	}{
		{"Gather", []graph.Fact{sizes[0], shape}, []Cut{Sized, Uncut}, Sized, true},
		{"Gather", []graph.Fact{sizes[0], graph.FactOf(list[int64](1))}, []Cut{Sized, Uncut}, Uncut, true}, // a 6
		{"Reshape", []graph.Fact{batch, sizes[0]}, []Cut{InRows, Sized}, InRows, true},
		{"ConstantOfShape", []graph.Fact{sizes[0]}, []Cut{Sized}, InRows, true},
		{"Expand", []graph.Fact{graph.FactOf(random(1, 1, 6)), sizes[0]}, []Cut{Uncut, Sized}, InRows, true},
		{"Range", []graph.Fact{sizes[0], sizes[0], sizes[0]}, []Cut{Sized, Sized, Sized}, InRows, false},
	} {
		o := mustParse(t, c.op, 18, len(c.in))
		out, err := InferNode(o, c.in, 1)
		if err != nil && c.ok {
			t.Fatal(err)
		}
		if err != nil {
			continue
		}
		if way, ok := ByRows(o, rows, c.in, out, c.cuts); ok != c.ok || ok && way != c.way {
			t.Errorf("%s: %v, %v, wanted %v, %v", c.op, way, ok, c.way, c.ok)
		}
	}
}

func mustParse(t *testing.T, name string, opset int64, nIn int) Op {
	t.Helper()
	o, err := parseOp(opTest{op: name, opset: opset, in: slices.Repeat([]*tensor.Tensor{random(1, 2)}, nIn)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A random operator of the batch's shape draws for each row; one of its own shape would
// draw for each part.
func TestByRowsAtRandom(t *testing.T) {
	o := mustParse(t, "RandomNormalLike", 18, 1)
	fixed := []tensor.Value{tensor.ValueOf(random(1, 4, 3))}
	if _, ok := follows(o, fixed, []bool{false}, 4, 1); ok {
		t.Error("what all parts share is drawn")
	}
	drop := &trainingDropout{dropout: dropout{most: 3}}
	in := []tensor.Value{fixed[0], tensor.ValueOf(tensor.Scalar[float32](0.5)), tensor.ValueOf(tensor.Scalar(true))}
	if _, ok := follows(drop, in, []bool{true, false, false}, 4, 1); !ok {
		t.Error("dropout does not follow")
	}
	drop.seed = new(uint64)
	if _, ok := follows(drop, in, []bool{true, false, false}, 4, 1); ok {
		t.Error("dropout with a seed of its own would draw the same for each part")
	}
}

// A layer of training in one task gives, but for rounding, what it gives in several.
func TestBilinearStepOfPart(t *testing.T) {
	o := &BilinearStep{N1: 16, N2: 16, M1: 16, M2: 16, Terms: 4, Relu: true}
	in := []tensor.Value{tensor.ValueOf(random(1, 64, 256)), tensor.ValueOf(random(2, 16, 64)), tensor.ValueOf(random(3, 16, 64)), tensor.ValueOf(random(4, 256))}
	run := func(ctx *Ctx) [][]float64 {
		out, err := Eval(ctx, o, in, 2)
		if err != nil {
			t.Fatal(err)
		}
		start := make([]tensor.Value, len(in))
		for i, v := range in {
			start[i] = tensor.ValueOf(tensor.New(tensor.Float32, v.Tensor.Shape()...))
		}
		return append(backward(t, ctx, o, in, out, []tensor.Value{tensor.ValueOf(random(5, 64, 256))}, start), numbers(out[0].Tensor))
	}
	want := run(&Ctx{Pool: kernel.NewPool(2)})
	for i, got := range run(&Ctx{Part: true}) {
		if err := near(got, want[i], rounded); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}
