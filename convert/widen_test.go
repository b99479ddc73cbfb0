package convert

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// A wideCase is a net whose first layer, n_h of 8 inputs and 6 outputs, can be
// widened.
type wideCase struct {
	name    string
	build   func(b *modeller)
	tiled   int   // constants that follow
	readers int   // layers that are fitted anew
	from    int64 // operator set; 0: 7
	ir      int64 // 0: 8
	dtype   tensor.DType
}

// hidden is a layer of 8 inputs and 6 outputs whose weight is one pair of 3×2
// and 2×4, so that a plan of one pair changes nothing.
func (b *modeller) hidden(x *graph.Value, bias ...int) *graph.Value {
	k := &factorize.Kronecker{Shape: factorize.Shape{M1: 3, N1: 2, M2: 2, N2: 4}, Rows: 6, Cols: 8}
	r, err := factorize.Random(k.Shape, 1, 6, 8, 1, 3)
	b.must(err)
	t, err := tensor.FromFloat64s(b.d, transposed(r.Dense()).RawMatrix().Data, 8, 6)
	b.must(err)
	if len(bias) == 0 {
		return b.op("MatMul", "h", list(x, b.init("w", t)))
	}
	return b.op("Gemm", "h", list(x, b.init("w", t), b.weight("c", bias...)))
}

// last is the layer that reads the hidden one.
func (b *modeller) last(x *graph.Value) *graph.Value {
	return b.op("Gemm", "y", list(x, b.weight("w2", 6, 5), b.weight("c2", 5)))
}

func (b *modeller) flat() *graph.Value { return b.input("x", "N", 8) }
func (b *modeller) deep() *graph.Value { return b.input("x", "N", "T", 8) }

func (b *modeller) scalar(name string, v float64) *graph.Value {
	t, err := tensor.FromFloat64s(b.d, []float64{v})
	b.must(err)
	return b.init(name, t)
}

func (b *modeller) positive(name string, n int) *graph.Value {
	v := make([]float64, n)
	for i := range v {
		v[i] = 0.5 + float64(i)/4
	}
	t, err := tensor.FromFloat64s(b.d, v, n)
	b.must(err)
	return b.init(name, t)
}

var wideCases = []wideCase{
	{name: "Relu", readers: 1, build: func(b *modeller) { b.output(b.last(b.op("Relu", "r", list(b.hidden(b.flat(), 6))))) }},
	{name: "nothing between, bias of a row", readers: 1, build: func(b *modeller) { b.output(b.last(b.hidden(b.flat(), 1, 6))) }},
	{name: "IR 3", readers: 1, ir: 3, build: func(b *modeller) { b.output(b.last(b.op("Relu", "r", list(b.hidden(b.flat(), 6))))) }},
	{name: "float64", readers: 1, dtype: tensor.Float64, build: func(b *modeller) { b.output(b.last(b.op("Tanh", "r", list(b.hidden(b.flat(), 6))))) }},
	{name: "one bias for all, scaled", readers: 1, build: func(b *modeller) {
		h := b.hidden(b.flat(), 1)
		h.Producer().Attrs = append(h.Producer().Attrs, attrFloat("beta", 3))
		b.output(b.last(b.op("Sigmoid", "r", list(h))))
	}},
	{name: "scaled bias", readers: 1, build: func(b *modeller) {
		h := b.hidden(b.flat(), 6)
		h.Producer().Attrs = append(h.Producer().Attrs, attrFloat("beta", 0.5))
		b.output(b.last(b.op("Sigmoid", "r", list(h))))
	}},
	{name: "bias used elsewhere", readers: 1, build: func(b *modeller) {
		h := b.hidden(b.flat(), 6)
		b.output(b.last(h), b.op("Neg", "other", list(b.g.Value("c"))))
	}},
	{name: "bias added apart, rank 3", readers: 1, build: func(b *modeller) {
		h := b.op("Add", "a", list(b.hidden(b.deep()), b.weight("c", 6)))
		b.output(b.op("MatMul", "y", list(b.op("Relu", "r", list(h)), b.weight("w2", 6, 5))))
	}},
	{name: "batch normalization", tiled: 4, readers: 1, build: func(b *modeller) {
		h := b.hidden(b.flat(), 6)
		n := b.op("BatchNormalization", "bn", list(h, b.weight("scale", 6), b.weight("shift", 6), b.weight("mean", 6), b.positive("var", 6)))
		b.output(b.last(b.op("Relu", "r", list(n))))
	}},
	{name: "batch normalization over places", readers: 1, build: func(b *modeller) {
		h := b.hidden(b.input("x", "N", 4, 8))
		n := b.op("BatchNormalization", "bn", list(h, b.weight("scale", 4), b.weight("shift", 4), b.weight("mean", 4), b.positive("var", 4)))
		b.output(b.op("MatMul", "y", list(n, b.weight("w2", 6, 5))))
	}},
	{name: "PRelu and scales", tiled: 3, readers: 1, build: func(b *modeller) {
		h := b.op("PRelu", "p", list(b.hidden(b.flat(), 6), b.weight("slope", 6)))
		h = b.op("Mul", "m", list(h, b.weight("gain", 1, 6)))
		h = b.op("Add", "s", list(b.op("Div", "d", list(h, b.scalar("two", 2))), b.constant("k", b.random(6))))
		b.output(b.last(h))
	}},
	{name: "one constant read twice", tiled: 2, readers: 1, build: func(b *modeller) {
		gain := b.weight("gain", 6)
		h := b.op("Mul", "m", list(b.hidden(b.flat(), 6), gain))
		b.output(b.last(b.op("Sub", "s", list(h, gain))))
	}},
	{name: "GELU in parts", readers: 1, from: 9, build: func(b *modeller) {
		h := b.hidden(b.deep())
		e := b.op("Erf", "e", list(b.op("Div", "d", list(h, b.scalar("root", 1.4142135)))))
		g := b.op("Mul", "g", list(h, b.op("Add", "a", list(e, b.scalar("one", 1)))))
		b.output(b.op("MatMul", "y", list(b.op("Mul", "half", list(g, b.scalar("h2", 0.5))), b.weight("w2", 6, 5))))
	}},
	{name: "gate of itself, two readers", readers: 2, build: func(b *modeller) {
		h := b.hidden(b.flat(), 6)
		g := b.op("Mul", "g", list(h, b.op("Sigmoid", "s", list(h))))
		b.output(b.last(g), b.op("MatMul", "z", list(b.op("Abs", "abs", list(g)), b.weight("w3", 6, 3))))
	}},
	{name: "Clip and Dropout", readers: 1, from: 11, build: func(b *modeller) {
		h := b.op("Clip", "clip", list(b.hidden(b.flat(), 6), b.init("lo", scalarOf(b, -1)), b.init("hi", scalarOf(b, 1))))
		b.output(b.last(b.op("Dropout", "drop", list(h))))
	}},
	{name: "one number for each row", readers: 1, build: func(b *modeller) {
		x := b.flat()
		b.output(b.last(b.op("Mul", "m", list(b.hidden(x, 6), b.input("weight", "N", 1)))))
	}},
	{name: "Reshape and Transpose", readers: 1, build: func(b *modeller) {
		h := b.op("Transpose", "t", list(b.hidden(b.deep())), attrInts("perm", 1, 0, 2))
		b.output(b.last(b.op("Reshape", "rs", list(b.op("Relu", "r", list(h)), b.ints("shape", -1, 6)))))
	}},
	{name: "sizes of other axes are read", readers: 1, build: func(b *modeller) {
		h := b.hidden(b.deep())
		dims := b.op("Shape", "dims", list(h))
		n := b.op("Gather", "n", list(dims, b.init("first", tensor.Of([]int64{0, -2}, 2))), attrInt("axis", 0))
		flat := b.op("MatMul", "y", list(b.op("Relu", "r", list(h)), b.weight("w2", 6, 5)))
		to := b.op("Concat", "to", list(n, b.ints("rest", 5)), attrInt("axis", 0))
		b.output(b.declare(b.op("Reshape", "rs", list(flat, to)), "N", "T", 5))
	}},
	{name: "Reshape that infers the size", readers: 1, build: func(b *modeller) {
		h := b.op("Reshape", "rs", list(b.hidden(b.input("x", 4, 8), 6), b.ints("shape", 4, -1)))
		b.output(b.last(b.op("Flatten", "f", list(h))))
	}},
	{name: "declared types", readers: 1, build: func(b *modeller) {
		h := b.declare(b.hidden(b.flat(), 6), "N", 6)
		b.output(b.last(b.declare(b.op("Relu", "r", list(h)), "N", 6)))
	}},
}

// scalarOf is a number without axes.
func scalarOf(b *modeller, v float64) *tensor.Tensor {
	t, err := tensor.FromFloat64s(b.d, []float64{v}, []int{}...)
	b.must(err)
	return t
}

// eachWide calls f for every case in several operator sets.
func eachWide(t *testing.T, f func(t *testing.T, c *wideCase, m *graph.Model)) {
	for i := range wideCases {
		c := &wideCases[i]
		for _, opset := range []int64{7, 9, 11, 13, 17} {
			if opset < c.from || c.ir == 3 && opset > 9 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, opset), func(t *testing.T) {
				ir := c.ir
				if ir == 0 {
					ir = 8
				}
				b := newModeller(t, ir, opset)
				if c.dtype != 0 {
					b.d = c.dtype
				}
				c.build(b)
				f(t, c, b.model())
			})
		}
	}
}

// widePlan leaves all layers of m as they are but n_h, which becomes one pair
// and so many times as wide.
func widePlan(t testing.TB, m *graph.Model, factor int) *Plan {
	t.Helper()
	p := mustPlan(t, m, Options{Ratio: 1})
	for i := range p.Layers {
		if e := &p.Layers[i]; e.Name == "n_h" {
			by := map[int][2]int{1: {1, 1}, 2: {2, 1}, 4: {2, 2}, 6: {3, 2}}[factor]
			e.Action, e.Widen, e.Terms = ActBilinear, factor, 1
			e.Shape = shapeOf(factorize.Shape{M1: 3 * by[0], N1: 2, M2: 2 * by[1], N2: 4})
		}
	}
	return p
}

// A wide layer whose first copies are the layer itself changes nothing where
// what reads it reads these; and everything between is as wide.
func TestWidenKeepsTheFunction(t *testing.T) {
	eachWide(t, func(t *testing.T, c *wideCase, m *graph.Model) {
		in := randomLike(t, m, batch)
		want := runModel(t, m, in...)
		f, err := find(m)
		if err != nil {
			t.Fatal(err)
		}
		wd, why := f.widen(f.weights[0])
		if why != "" {
			t.Fatalf("not widened: %s", why)
		}
		if len(wd.tiled) != c.tiled || len(wd.readers) != c.readers {
			t.Errorf("%d constants follow, %d layers read it; want %d and %d", len(wd.tiled), len(wd.readers), c.tiled, c.readers)
		}
		for _, factor := range []int{2, 4, 6} {
			small, r := mustApply(t, m, widePlan(t, m, factor))
			for i, got := range runModel(t, small, in...) {
				wantClose(t, fmt.Sprintf("%d times as wide, output %d", factor, i), got, want[i], tolerance(wanted(c)))
			}
			facts, err := op.Infer(small, nil)
			if err != nil || len(facts.Problems) > 0 {
				t.Fatalf("%d times as wide: %v %v", factor, err, facts.Problems)
			}
			for _, v := range wd.values {
				got := facts.Of(small.Graph.Value(v.Name())).Shape
				if last := got[len(got)-1]; !last.Is(6 * factor) {
					t.Errorf("%d times as wide: %q has %v outputs", factor, v.Name(), last)
				}
			}
			if l := r.Layers[0]; l.Widen != factor || l.ParamsAfter != int64(l.Shape.factorize().Params(1)+wd.grown(factor)) {
				t.Errorf("%d times as wide: the report says %+v", factor, l)
			}
			sum := Params(m)
			for _, l := range r.Layers {
				sum += l.ParamsAfter - l.ParamsBefore
			}
			if after := Params(small); after != sum {
				t.Errorf("%d times as wide: %d parameters, the layers tell of %d", factor, after, sum)
			}
			layers, err := ReadLayers(small)
			if err != nil || len(layers) != 1 || layers[0].Widen != factor {
				t.Errorf("%d times as wide: the metadata is %+v, %v", factor, layers, err)
			}
		}
		if layers, _ := ReadLayers(func() *graph.Model { s, _ := mustApply(t, m, widePlan(t, m, 1)); return s }()); layers[0].Widen != 0 {
			t.Errorf("a layer of its own width is recorded as %d times as wide", layers[0].Widen)
		}
	})
}

func wanted(c *wideCase) tensor.DType {
	if c.dtype != 0 {
		return c.dtype
	}
	return tensor.Float32
}

// What is written satisfies ONNX's checker and runs alike in ONNX Runtime.
func TestWidenChecker(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	var paths []string
	eachWide(t, func(t *testing.T, c *wideCase, m *graph.Model) {
		small, _ := mustApply(t, m, widePlan(t, m, 4))
		path := filepath.Join(dir, fmt.Sprintf("%d-%s.onnx", m.Opset(""), strings.ReplaceAll(c.name, " ", "_")))
		if err := onnx.Write(small, path, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	})
	checkFiles(t, py, dir, paths)
}

func TestWidenONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	dir := t.TempDir()
	eachWide(t, func(t *testing.T, c *wideCase, m *graph.Model) {
		if c.dtype == tensor.Float64 && m.Opset("") < 9 {
			return // ONNX Runtime has no such kernels
		}
		small, _ := mustApply(t, m, widePlan(t, m, 4))
		path := filepath.Join(dir, "m.onnx")
		if err := onnx.Write(small, path, onnx.WriteOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		in := randomLike(t, m, batch)
		want, err := s.Run(path, named(small, in))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range runModel(t, small, in...) {
			if err := ortest.Compare(got, want[i].Tensor, ortest.Tolerance); err != nil {
				t.Error(err)
			}
		}
	})
}

// Where a layer cannot be widened the reason says so.
func TestWidenReasons(t *testing.T) {
	for _, c := range []struct {
		why   string
		build func(b *modeller)
	}{
		{`"h" is an output of the graph`, func(b *modeller) { b.output(b.hidden(b.flat(), 6)) }},
		{`no layer reads its output`, func(b *modeller) {
			b.hidden(b.flat(), 6)
			b.output(b.op("MatMul", "y", list(b.g.Value("x"), b.weight("w2", 8, 2))))
		}},
		{`node "n_n" (LayerNormalization), which does not go by element`, func(b *modeller) {
			b.output(b.last(b.op("LayerNormalization", "n", list(b.hidden(b.flat(), 6), b.weight("scale", 6)))))
		}},
		{`node "n_s" (Softmax)`, func(b *modeller) { b.output(b.last(b.op("Softmax", "s", list(b.hidden(b.flat(), 6))))) }},
		{`node "n_cat" (Concat)`, func(b *modeller) {
			h := b.hidden(b.flat(), 6)
			b.output(b.op("MatMul", "y", list(b.op("Concat", "cat", list(h, h), attrInt("axis", 1)), b.weight("w2", 12, 2))))
		}},
		{`"skip" is computed, with a number for every output`, func(b *modeller) {
			h := b.hidden(b.flat(), 6)
			b.output(b.last(b.op("Add", "sum", list(h, b.op("Relu", "skip", list(b.input("other", "N", 6)))))))
		}},
		{`node "n_a" (Add): "u" is computed`, func(b *modeller) {
			x := b.flat()
			b.output(b.last(b.op("Add", "a", list(b.hidden(x, 6), b.op("MatMul", "u", list(x, b.weight("wu", 8, 6)))))))
		}},
		{`the shape for node "n_rs" (Reshape) is computed`, func(b *modeller) {
			h := b.hidden(b.flat(), 6)
			b.output(b.last(b.declare(b.op("Reshape", "rs", list(h, b.op("Shape", "dims", list(b.input("like", "N", 6))))), "N", 6)))
		}},
		{`node "n_dims" (Shape)`, func(b *modeller) {
			h := b.hidden(b.flat(), 6)
			b.output(b.last(b.declare(b.op("Reshape", "rs", list(h, b.op("Shape", "dims", list(h)))), "N", 6)))
		}},
		{`node "n_dims" (Shape)`, func(b *modeller) { // the last size is read
			h := b.hidden(b.flat(), 6)
			last := b.op("Gather", "n", list(b.op("Shape", "dims", list(h)), b.init("at", tensor.Of([]int64{-1}, 1))), attrInt("axis", 0))
			b.output(b.last(h), last)
		}},
		{`the last axis of "rs" is not the 6 outputs`, func(b *modeller) {
			h := b.op("Reshape", "rs", list(b.hidden(b.flat(), 6), b.ints("shape", -1, 3)))
			b.output(b.op("MatMul", "y", list(h, b.weight("w2", 3, 2))))
		}},
		{`node "n_t" (Transpose)`, func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.weight("w2", 5, 6), b.op("Transpose", "t", list(b.hidden(b.flat(), 6)), attrInts("perm", 1, 0)))))
		}},
		{`its weight is shared with layer "n_h2"`, func(b *modeller) {
			h := b.hidden(b.flat(), 6)
			h2 := b.op("MatMul", "h2", list(b.input("x2", "N", 8), b.g.Value("w")))
			b.output(b.last(b.op("Relu", "r", list(h))), h2)
		}},
		{`layer "n_y", which reads it, shares its weight`, func(b *modeller) {
			y := b.last(b.op("Relu", "r", list(b.hidden(b.flat(), 6))))
			b.output(y, b.op("MatMul", "z", list(b.input("x2", "N", 6), b.g.Value("w2"))))
		}},
		{`layer "n_y", which reads it, has its inputs in another axis`, func(b *modeller) {
			b.output(b.op("Gemm", "y", list(b.hidden(b.input("x", 5, 8), 6), b.weight("w2", 5, 3)), attrInt("transA", 1)))
		}},
		{`its samples are columns`, func(b *modeller) {
			b.output(b.op("Gemm", "h", list(b.weight("w", 6, 8), b.input("x", 8, "N")), attrInt("beta", 0)))
		}},
		{`its bias "c" is computed, with a number for every output`, func(b *modeller) {
			h := b.op("Gemm", "h", list(b.flat(), b.weight("w", 8, 6), b.input("c", "N", 6)))
			b.output(b.last(h))
		}},
		{`takes its statistics from the batch`, func(b *modeller) {
			n := b.op("BatchNormalization", "bn", list(b.hidden(b.flat(), 6), b.weight("scale", 6), b.weight("shift", 6), b.weight("mean", 6), b.positive("var", 6)),
				attrInt("training_mode", 1))
			b.output(b.last(n))
		}},
		{`the parameter "scale" of`, func(b *modeller) {
			n := b.op("BatchNormalization", "bn", list(b.hidden(b.flat(), 6), b.input("scale", 6), b.weight("shift", 6), b.weight("mean", 6), b.positive("var", 6)))
			b.output(b.last(n))
		}},
		{`it is a convolution`, func(b *modeller) {
			b.output(b.op("Conv", "h", list(b.input("x", "N", 8, 5, 5), b.weight("w", 6, 8, 3, 3))))
		}},
		{`a convolution has its outputs in another axis`, func(b *modeller) {
			b.output(b.op("Conv", "h", list(b.input("x", "N", 8, 5, 5), b.weight("w", 6, 8, 1, 1))))
		}},
	} {
		b := newModeller(t, 8, 17)
		c.build(b)
		f, err := find(b.model())
		if err != nil {
			t.Fatal(err)
		}
		_, why := f.widen(f.weights[0])
		if !strings.Contains(why, c.why) {
			t.Errorf("reason %q, want %q", why, c.why)
		}
		if w := f.weights[0]; w.Layers[0].Name != "n_h" {
			t.Errorf("%q: the first layer is %q", c.why, w.Layers[0].Name)
		}
	}
}

// An edited plan that cannot be carried out is refused.
func TestWidenPlanErrors(t *testing.T) {
	b := newModeller(t, 8, 13)
	b.output(b.last(b.op("Relu", "r", list(b.hidden(b.flat(), 6)))))
	m := b.model()
	for _, c := range []struct {
		want string
		edit func(h, y *LayerPlan)
	}{
		{"wanted 3 times 6", func(h, _ *LayerPlan) { h.Widen = 3 }},
		{"wanted 1 or more", func(h, _ *LayerPlan) { h.Widen = -2 }},
		{"only a bilinear layer", func(h, _ *LayerPlan) { h.Action, h.Shape = ActLowRank, nil }},
		{`cannot be widened: "y" is an output`, func(_, y *LayerPlan) {
			y.Action, y.Widen, y.Terms, y.Shape = ActBilinear, 2, 1, shapeOf(factorize.Shape{M1: 2, N1: 2, M2: 5, N2: 6})
		}},
		{"2·3 columns for the weight's 12", func(_, y *LayerPlan) {
			y.Action, y.Terms, y.Shape = ActBilinear, 1, shapeOf(factorize.Shape{M1: 1, N1: 2, M2: 5, N2: 3})
		}},
	} {
		p := widePlan(t, m, 2)
		c.edit(&p.Layers[0], &p.Layers[1])
		_, _, err := Apply(context.Background(), m, p, ApplyOptions{})
		if !errors.Is(err, ErrPlan) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// The shipped models, with wide layers, run alike in ONNX Runtime.
func TestWidenRealModelsONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	for name, wide := range map[string]int{"fashion-mlp.onnx": 2, "fashion-vit.onnx": 4} {
		m, err := onnx.Read(filepath.Join("..", "testdata", "models", name))
		if err != nil {
			t.Fatal(err)
		}
		p := mustPlan(t, m, Options{Structure: Bilinear, NumTerms: 1, Widen: 2})
		widened := 0
		for _, l := range p.Layers {
			if l.Widen == 2 {
				widened++
			}
		}
		if widened != wide {
			t.Errorf("%s: %d layers are wide, want %d", name, widened, wide)
		}
		small, _ := mustApply(t, m, p)
		path := filepath.Join(t.TempDir(), name)
		if err := onnx.Write(small, path, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		in := randomLike(t, m, map[string]int{m.Graph.Inputs[0].Type.Shape[0].String(): 3})
		want, err := s.Run(path, named(small, in))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range runModel(t, small, in...) {
			if err := ortest.Compare(got, want[i].Tensor, ortest.Tolerance); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
