package convert

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bilinc/convert/match"
	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// A convCase is one convolution.
type convCase struct {
	name  string
	x     []any // the input's dimensions
	w     []int
	attrs []*graph.Attr
	bias  string // "", "conv", "add", "shared", "computed"
	dtype tensor.DType
	ir    int64
}

var convCases = []convCase{
	{name: "1x1", x: []any{"N", 6, "H", "W"}, w: []int{4, 6, 1, 1}, bias: "conv"},
	{name: "1x1 strided", x: []any{"N", 6, "H", "W"}, w: []int{4, 6, 1, 1}, attrs: []*graph.Attr{attrInts("strides", 2, 3)}, bias: "conv"},
	{name: "1x1 padded", x: []any{"N", 6, "H", "W"}, w: []int{8, 6, 1, 1}, attrs: []*graph.Attr{attrInts("pads", 1, 0, 0, 2)}, bias: "conv"},
	{name: "1x1 of primes", x: []any{"N", 7, "H", 5}, w: []int{11, 7, 1, 1}, bias: "conv"},
	{name: "1x1, known sizes", x: []any{2, 6, 4, 5}, w: []int{4, 6, 1, 1}},
	{name: "1x1 and Add", x: []any{"N", 6, "H", "W"}, w: []int{4, 6, 1, 1}, bias: "add"},
	{name: "1x1, a shared bias", x: []any{"N", 6, "H", "W"}, w: []int{4, 6, 1, 1}, bias: "shared"},
	{name: "1x1, a computed bias", x: []any{"N", 6, "H", "W"}, w: []int{4, 6, 1, 1}, bias: "computed"},
	{name: "3x3", x: []any{"N", 4, "H", "W"}, w: []int{6, 4, 3, 3}, attrs: []*graph.Attr{attrInts("pads", 1, 1, 1, 1)}, bias: "conv"},
	{name: "3x2, strides, dilations, uneven pads", x: []any{"N", 4, "H", "W"}, w: []int{4, 4, 3, 2}, bias: "conv",
		attrs: []*graph.Attr{attrInts("strides", 2, 1), attrInts("dilations", 1, 2), attrInts("pads", 2, 0, 1, 1), attrInts("kernel_shape", 3, 2)}},
	{name: "1x3, float64", x: []any{"N", 4, "H", "W"}, w: []int{6, 4, 1, 3}, attrs: []*graph.Attr{attrInts("pads", 0, 1, 0, 1)}, dtype: tensor.Float64},
	{name: "3x3 SAME_UPPER", x: []any{"N", 4, "H", "W"}, w: []int{4, 4, 3, 3}, bias: "add",
		attrs: []*graph.Attr{attrInts("strides", 2, 2), {Name: "auto_pad", Type: graph.AttrString, S: []byte("SAME_UPPER")}}},
	{name: "2x2 SAME_LOWER", x: []any{"N", 4, "H", "W"}, w: []int{4, 4, 2, 2}, bias: "conv",
		attrs: []*graph.Attr{attrInts("strides", 2, 1), {Name: "auto_pad", Type: graph.AttrString, S: []byte("SAME_LOWER")}}},
	{name: "3x3 VALID", x: []any{"N", 4, "H", "W"}, w: []int{4, 4, 3, 3},
		attrs: []*graph.Attr{{Name: "auto_pad", Type: graph.AttrString, S: []byte("VALID")}}},
	{name: "one axis", x: []any{"N", 4, "W"}, w: []int{6, 4, 3}, attrs: []*graph.Attr{attrInts("pads", 1, 1), attrInts("strides", 2)}, bias: "conv"},
	{name: "three axes", x: []any{"N", 4, 3, "H", "W"}, w: []int{4, 4, 2, 1, 3}, attrs: []*graph.Attr{attrInts("strides", 1, 2, 1)}, bias: "conv"},
	{name: "3x3, weight behind a Constant, IR 3", x: []any{"N", 4, "H", "W"}, w: []int{4, 6, 3, 3}, ir: 3, bias: "conv"},
}

var convSizes = map[string]int{"N": 2, "H": 7, "W": 6}

// build makes the model of a case.
func (c convCase) build(t testing.TB, opset int64) *graph.Model {
	ir := c.ir
	if ir == 0 {
		ir = 8
	}
	b := newModeller(t, ir, opset)
	if c.dtype != 0 {
		b.d = c.dtype
	}
	c.x = slices.Clone(c.x)
	if c.x[1] != c.w[1] {
		c.x[1] = c.w[1]
	}
	in := list(b.input("x", c.x...), nil)
	if c.ir == 3 {
		in[1] = b.constant("w", b.random(c.w...))
	} else {
		in[1] = b.weight("w", c.w...)
	}
	side := append([]int{c.w[0]}, ones(len(c.w)-2)...)
	switch c.bias {
	case "conv", "shared":
		in = append(in, b.weight("c", c.w[0]))
	case "computed":
		in = append(in, b.input("c", c.w[0]))
	}
	y := b.op("Conv", "y", in, c.attrs...)
	switch c.bias {
	case "add":
		y = b.op("Add", "z", list(b.weight("c", side...), y))
	case "shared":
		b.output(b.op("Neg", "nc", list(in[2])))
	}
	b.output(y)
	return b.model()
}

// planForm replaces every layer by so many terms of a form.
func planForm(t testing.TB, m *graph.Model, f form, terms int) *Plan {
	t.Helper()
	p, err := NewPlan(context.Background(), m, Options{Structure: LowRank, NumTerms: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Layers {
		e := &p.Layers[i]
		if e.Action == ActSkipped {
			t.Fatalf("skipped: %s", e.Reason)
		}
		e.Action, e.Terms, e.Shape, e.Kernel = ActBilinear, terms, shapeOf(f.Shape), f.kernel
		if f.IsLowRank() && f.kernel == "" {
			e.Action, e.Shape = ActLowRank, nil
		}
	}
	return p
}

// withWeight is m with the weight of its one layer replaced by the nearest sum
// of so many terms of a form.
func withWeight(t testing.TB, m *graph.Model, f form, terms int) *graph.Model {
	t.Helper()
	c := m.Clone()
	fo, err := find(c)
	if err != nil {
		t.Fatal(err)
	}
	w := fo.weights[0]
	d, err := w.Dense()
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := factorize.NearestKronecker(context.Background(), ordered(d, columnOrder(w, f.kernel)), f.Shape, terms, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	shape := append([]int{w.Rows, w.Layers[0].Conv.Channels}, w.Layers[0].Conv.Kernel...)
	tn, err := tensor.FromFloat64s(w.DType, denseOf(w, k, f.kernel).RawMatrix().Data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	w.Layers[0].Product.SetInput(1, c.Graph.NewConst("dense", tn))
	return c
}

func weightOf(t testing.TB, m *graph.Model) *match.Weight {
	t.Helper()
	f, err := find(m)
	if err != nil || len(f.weights) != 1 {
		t.Fatalf("found %d weights (%v), skips %v", len(f.weights), err, f.skips)
	}
	return f.weights[0]
}

// Every form, at two terms and at as many as are exact, computes what the dense
// convolution with the same weight does.
func TestConvolutionInEveryForm(t *testing.T) {
	orders := map[string]int{}
	for _, c := range convCases {
		for _, opset := range []int64{7, 11, 13, 22} {
			t.Run(fmt.Sprintf("%s/%d", c.name, opset), func(t *testing.T) {
				m := c.build(t, opset)
				inputs := randomLike(t, m, convSizes)
				all := forms(weightOf(t, m))
				if !all[0].IsLowRank() || len(all) < 3 {
					t.Fatalf("forms are %v", all)
				}
				for i, f := range all {
					if opset != 13 && i%5 != int(opset)%5 && i > 0 {
						continue
					}
					for _, terms := range []int{min(2, f.MaxTerms()), f.MaxTerms()} {
						what := fmt.Sprintf("%v %s, %d terms", f.Shape, f.kernel, terms)
						out, r, err := Apply(context.Background(), m, planForm(t, m, f, terms), ApplyOptions{})
						if err != nil {
							t.Fatalf("%s: %v", what, err)
						}
						ref := m
						if terms < f.MaxTerms() {
							ref = withWeight(t, m, f, terms)
						}
						want := runModel(t, ref, inputs...)
						for i, got := range runModel(t, out, inputs...) {
							wantClose(t, what, got, want[i], tolerance(got.DType()))
						}
						checkInterface(t, m, out)
						if got := Params(out); got != r.ParamsAfter {
							t.Errorf("%s: the report says %d parameters, the model has %d", what, r.ParamsAfter, got)
						}
						done, err := ReadLayers(out)
						if err != nil || len(done) != 1 || done[0].Op != "Conv" || done[0].Kernel != f.kernel || done[0].Shape.factorize() != f.Shape {
							t.Errorf("%s: metadata %+v (%v)", what, done, err)
						} else {
							orders[done[0].First+" first, kernel "+f.kernel]++
						}
					}
				}
			})
		}
	}
	for _, k := range []string{"", "aa", "ab", "ba"} {
		for _, first := range []string{"a", "b"} {
			if orders[first+" first, kernel "+k] == 0 {
				t.Errorf("not tried: %s first, kernel %q; %v", first, k, orders)
			}
		}
	}
}

// The written models give the same in ONNX Runtime.
func TestConvolutionONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	dir := t.TempDir()
	ran := 0
	for ci, c := range convCases {
		if c.dtype == tensor.Float64 {
			continue // has no convolution there
		}
		for _, opset := range []int64{7, 9, 12, 17} {
			m := c.build(t, opset)
			inputs := randomLike(t, m, convSizes)
			for i, f := range forms(weightOf(t, m)) {
				if (i+ci+int(opset))%4 != 0 && i > 0 {
					continue
				}
				terms := min(2, f.MaxTerms())
				what := fmt.Sprintf("%s, opset %d, %v %s", c.name, opset, f.Shape, f.kernel)
				out, _, err := Apply(context.Background(), m, planForm(t, m, f, terms), ApplyOptions{})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				path := filepath.Join(dir, fmt.Sprintf("%d.onnx", ran))
				ran++
				if err := onnx.Write(out, path, onnx.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
				want, err := s.Run(path, named(out, inputs))
				if err != nil {
					t.Errorf("%s: %v", what, err)
					continue
				}
				for i, got := range runModel(t, out, inputs...) {
					if err := ortest.Compare(got, want[i].Tensor, ortest.Tolerance); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
	}
	t.Logf("%d models", ran)
}

// named is inputs with the names of the model's, those with an initializer left out.
func named(m *graph.Model, inputs []*tensor.Tensor) []ortest.Named {
	var out []ortest.Named
	for _, v := range m.Graph.Inputs {
		if v.Init() == nil {
			out = append(out, ortest.Named{Name: v.Name(), Tensor: inputs[len(out)]})
		}
	}
	return out
}

// What cannot be a layer says why.
func TestConvolutionReasons(t *testing.T) {
	for _, c := range []struct {
		name   string
		build  func(b *modeller)
		reason string
	}{
		{"grouped", func(b *modeller) {
			b.output(b.op("Conv", "y", list(b.input("x", "N", 8, 5, 5), b.weight("w", 8, 2, 3, 3)), attrInt("group", 4)))
		}, "grouped"},
		{"computed", func(b *modeller) {
			w := b.op("Mul", "ww", list(b.weight("w", 8, 8, 1, 1), b.weight("s", 8, 1, 1, 1)))
			b.output(b.op("Conv", "y", list(b.input("x", "N", 8, 5, 5), w)))
		}, `computed by node "n_ww"`},
		{"also added", func(b *modeller) {
			w := b.weight("w", 8, 8, 1, 1)
			b.output(b.op("Add", "z", list(b.op("Conv", "y", list(b.input("x", "N", 8, 1, 1), w)), w)))
		}, "also read"},
		{"constant input", func(b *modeller) {
			b.output(b.op("Conv", "y", list(b.weight("v", 1, 8, 5, 5), b.weight("w", 8, 8, 1, 1))), b.input("x", "N"))
		}, "constant"},
		{"transposed", func(b *modeller) {
			b.output(b.op("ConvTranspose", "y", list(b.input("x", "N", 8, 5, 5), b.weight("w", 8, 2, 3, 3))))
		}, "transposed"},
		{"too small", func(b *modeller) {
			b.output(b.op("Conv", "y", list(b.input("x", "N", 1, 5, 5), b.weight("w", 1, 1, 2, 1))))
		}, "no factors are smaller"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModeller(t, 8, 13)
			c.build(b)
			in, err := Inspect(b.model(), InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(in.Layers) != 1 || in.Layers[0].Compressible || !strings.Contains(in.Layers[0].Reason, c.reason) {
				t.Errorf("%+v, want a reason with %q", in.Layers, c.reason)
			}
		})
	}
}

// Plans that do not fit a convolution are refused.
func TestConvolutionPlans(t *testing.T) {
	m := convCases[8].build(t, 13) // 6 of 4 channels, 3x3
	for _, c := range []struct {
		f    form
		want string
	}{
		{form{factorize.Shape{M1: 3, N1: 6, M2: 2, N2: 6}, ""}, "splits the kernel"},
		{form{factorize.Shape{M1: 3, N1: 2, M2: 2, N2: 18}, "a"}, "2 axes"},
		{form{factorize.Shape{M1: 3, N1: 2, M2: 2, N2: 18}, "ac"}, "2 axes"},
		{form{factorize.Shape{M1: 3, N1: 9, M2: 2, N2: 12}, "ab"}, "pads the channels"},
		{form{factorize.Shape{M1: 3, N1: 2, M2: 2, N2: 18}, "aa"}, "splits the kernel"},
	} {
		_, _, err := Apply(context.Background(), m, planForm(t, m, c.f, 1), ApplyOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %q: error %v, want one with %q", c.f.Shape, c.f.kernel, err, c.want)
		}
	}
	b := newModeller(t, 8, 13)
	b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6))))
	if _, _, err := Apply(context.Background(), b.model(), planForm(t, b.m, form{factorize.Balanced(6, 10), "b"}, 1), ApplyOptions{}); err == nil {
		t.Error("a product takes a plan with a kernel")
	}
}

// Two convolutions of one weight share the factors, with windows of their own.
func TestConvolutionTied(t *testing.T) {
	b := newModeller(t, 8, 13)
	x, w := b.input("x", "N", 6, "H", "W"), b.weight("w", 6, 6, 3, 3)
	y := b.op("Conv", "y", list(x, w), attrInts("pads", 1, 1, 1, 1))
	b.output(b.op("Conv", "z", list(y, w, b.weight("c", 6)), attrInts("strides", 2, 1)))
	m := b.model()
	inputs := randomLike(t, m, convSizes)
	want := runModel(t, m, inputs...)
	for _, f := range forms(weightOf(t, m)) {
		out, _, err := Apply(context.Background(), m, planForm(t, m, f, f.MaxTerms()), ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantClose(t, f.String(), runModel(t, out, inputs...)[0], want[0], tolFloat32)
		if got, most := Params(out), int64(f.Params(f.MaxTerms())+2*6); got > most {
			t.Errorf("%v: %d parameters, want at most %d", f, got, most)
		}
	}
}

// The count of multiplications that decides the order is that of the nodes.
func TestConvolutionMACs(t *testing.T) {
	for _, c := range convCases {
		m := c.build(t, 13)
		w := weightOf(t, m)
		if len(c.attrs) > 0 || w.Layers[0].Conv.Taps() > 1 {
			continue // the borders of an image take fewer places on one side of a stage
		}
		for _, f := range forms(w) {
			p := newConvPair(w.Layers[0].Conv, f, 1)
			out, _, err := Apply(context.Background(), m, planForm(t, m, f, 1), ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			places := 1
			for _, d := range dims(c.x[2:]...) {
				n, _ := d.Eval(convSizes)
				places *= n
			}
			got := MACs(out, map[string]int{"H": 7, "W": 6})
			if want := int64(places * min(p.macs(true), p.macs(false))); got == nil || *got != want {
				t.Errorf("%s, %v: %v multiplications, want %d", c.name, f, got, want)
			}
		}
	}
}
