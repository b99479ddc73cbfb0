package grad

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Tolerances, relative to the largest element and, where it is larger, 1.
const (
	differences = 1e-6 // central differences in float64 of a whole model
	rounded     = 1e-4 // float32 against float64
)

// normals is a float64 tensor of normal numbers.
func normals(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float64, shape...)
	for i, v := 0, tensor.Data[float64](t); i < len(v); i++ {
		v[i] = r.NormFloat64()
	}
	return t
}

func narrow(t *tensor.Tensor) *tensor.Tensor {
	n := tensor.New(tensor.Float32, t.Shape()...)
	if err := tensor.Convert(n, t); err != nil {
		panic(err)
	}
	return n
}

// offset makes all readers of v read v plus a constant of zeros, which is
// returned: where activations are not the test's to change, it is.
func offset(t *testing.T, m *graph.Model, v *graph.Value, shape []int) *tensor.Tensor {
	t.Helper()
	g, delta := m.Graph, tensor.New(tensor.Float64, shape...)
	out, err := g.NewValue(g.FreshName(v.Name()+"+delta"), graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	uses := slices.Clone(v.Uses())
	n, err := g.NewNode("", "Add", "", values{v, g.NewConst("delta", delta)}, values{out})
	if err != nil {
		t.Fatal(err)
	}
	g.Append(n)
	for _, u := range uses {
		u.Node.SetInput(u.Input, out)
	}
	for i, o := range g.Outputs {
		if o == v {
			g.SetOutput(i, out)
		}
	}
	return delta
}

// floating is every floating-point value of m: inputs, constants and
// activations, in the order of the nodes.
func floating(t *testing.T, m *graph.Model, x *tensor.Tensor) values {
	t.Helper()
	var all values
	for _, n := range m.Graph.Nodes() {
		for _, v := range slices.Concat(n.Inputs(), n.Outputs()) {
			if v != nil && !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	s := forward(t, program(t, m, Options{Keep: all}), x)
	return slices.DeleteFunc(all, func(v *graph.Value) bool { return s.Value(v).Tensor.DType() != tensor.Float64 })
}

func forward(t *testing.T, p *Program, in ...*tensor.Tensor) *State {
	t.Helper()
	s, err := p.Forward(context.Background(), asValues(in))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asValues(in []*tensor.Tensor) []tensor.Value {
	out := make([]tensor.Value, len(in))
	for i, x := range in {
		out[i] = tensor.ValueOf(x)
	}
	return out
}

func program(t testing.TB, m *graph.Model, o Options) *Program {
	t.Helper()
	p, err := New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func near(got, want []float64, tol float64) error {
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, wanted %d", len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tol*scale) {
			return fmt.Errorf("element %d is %v, wanted %v", i, got[i], want[i])
		}
	}
	return nil
}

// Every constant and every activation, element by element.
func TestSmallModels(t *testing.T) {
	for name, build := range map[string]func(*testing.T) *graph.Model{"mlp": mlp, "transformer": transformer, "cnn": cnn} {
		t.Run(name, func(t *testing.T) {
			m := build(t)
			shape, _ := graph.Ints(m.Graph.Inputs[0].Type.Shape)
			r := rand.New(rand.NewPCG(3, 4))
			x := normals(r, shape...)
			wrt := floating(t, m, x)
			p := program(t, m, Options{Wrt: wrt, Pool: kernel.NewPool(2)})
			s := forward(t, p, x)
			dout := normals(r, s.Outputs()[0].Tensor.Shape()...)
			if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
				t.Fatal(err)
			}
			for _, v := range wrt {
				g := s.Grad(v)
				if g == nil {
					t.Errorf("%v has no gradient", v)
					continue
				}
				c := m.Clone()
				delta := offset(t, c, c.Graph.Value(v.Name()), g.Shape())
				q := program(t, c, Options{})
				project := func() float64 {
					s := forward(t, q, x)
					defer s.Release()
					sum := 0.0
					for i, y := range tensor.Data[float64](s.Outputs()[0].Tensor) {
						sum += y * tensor.Data[float64](dout)[i]
					}
					return sum
				}
				const h = 1e-5
				d := tensor.Data[float64](delta)
				want := make([]float64, len(d))
				for i := range d {
					d[i] = h
					up := project()
					d[i] = -h
					want[i] = (up - project()) / (2 * h)
					d[i] = 0
				}
				if err := near(tensor.Data[float64](g), want, differences); err != nil {
					t.Errorf("gradient of %s: %v", v.Name(), err)
				}
			}
		})
	}
}

// The shipped models: a direction of each of several values against
// differences in float64, and the same in float32.
func TestShippedModels(t *testing.T) {
	for name, among := range map[string][]string{
		"fashion-mlp.onnx": nil,
		"fashion-vit.onnx": {"onnx::MatMul_474", "b.0.n1.weight", "p", "e.bias", "onnx::MatMul_479", "/b.0/qkv/Add_output_0", "/b.1/f1/Add_output_0", "/b.2/Softmax_output_0"},
	} {
		t.Run(name, func(t *testing.T) {
			narrowModel := shipped(t, name)
			m := widened(t, narrowModel)
			r := rand.New(rand.NewPCG(5, 6))
			x := normals(r, 3, 784)
			var wrt, narrowWrt values
			for _, v := range floating(t, m, x) {
				if among == nil || slices.Contains(among, v.Name()) {
					wrt = append(wrt, v)
					narrowWrt = append(narrowWrt, narrowModel.Graph.Value(v.Name()))
				}
			}
			if among != nil && len(wrt) != len(among) {
				t.Fatalf("found %d of %d values", len(wrt), len(among))
			}
			s := forward(t, program(t, m, Options{Wrt: wrt}), x)
			dout := normals(r, s.Outputs()[0].Tensor.Shape()...)
			if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
				t.Fatal(err)
			}
			n := forward(t, program(t, narrowModel, Options{Wrt: narrowWrt, Pool: kernel.NewPool(2)}), narrow(x))
			if err := n.Backward(context.Background(), asValues([]*tensor.Tensor{narrow(dout)})); err != nil {
				t.Fatal(err)
			}
			for i, v := range wrt {
				g := s.Grad(v)
				n32, err := tensor.Float64s(n.Grad(narrowWrt[i]))
				if err != nil {
					t.Fatal(err)
				}
				if err := near(n32, tensor.Data[float64](g), rounded); err != nil {
					t.Errorf("gradient of %s in float32: %v", v.Name(), err)
				}
				c := m.Clone()
				delta := offset(t, c, c.Graph.Value(v.Name()), g.Shape())
				q := program(t, c, Options{})
				along := normals(r, g.Shape()...)
				const h = 1e-6
				at := func(h float64) float64 {
					for k, a := range tensor.Data[float64](along) {
						tensor.Data[float64](delta)[k] = h * a
					}
					s := forward(t, q, x)
					sum := 0.0
					for i, y := range tensor.Data[float64](s.Outputs()[0].Tensor) {
						sum += y * tensor.Data[float64](dout)[i]
					}
					return sum
				}
				got := 0.0
				for k, a := range tensor.Data[float64](along) {
					got += a * tensor.Data[float64](g)[k]
				}
				if err := near([]float64{got}, []float64{(at(h) - at(-h)) / (2 * h)}, 1e-5); err != nil {
					t.Errorf("gradient of %s along a direction: %v", v.Name(), err)
				}
			}
		})
	}
}

// Each call of Backward starts anew, on whatever the last one left; a state
// that was released serves other shapes and gives the same bits as a new one.
func TestRepeated(t *testing.T) {
	m := shipped(t, "fashion-mlp.onnx")
	wrt := m.Graph.Consts()
	p := program(t, m, Options{Wrt: wrt, Pool: kernel.NewPool(2)})
	r := rand.New(rand.NewPCG(7, 8))
	type run struct{ x, dout *tensor.Tensor }
	runs := []run{{narrow(normals(r, 4, 784)), narrow(normals(r, 4, 10))}, {narrow(normals(r, 7, 784)), narrow(normals(r, 7, 10))}}
	grads := func(s *State, dout *tensor.Tensor) []*tensor.Tensor {
		if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
			t.Fatal(err)
		}
		var out []*tensor.Tensor
		for _, v := range wrt {
			out = append(out, s.Grad(v).Clone())
		}
		return out
	}
	var want [][]*tensor.Tensor
	for _, u := range runs {
		want = append(want, grads(forward(t, program(t, m, Options{Wrt: wrt}), u.x), u.dout))
	}
	for range 2 {
		for i, u := range runs {
			s := forward(t, p, u.x)
			grads(s, narrow(normals(r, u.dout.Shape()...)))
			for k, g := range grads(s, u.dout) {
				if !tensor.Equal(g, want[i][k]) {
					t.Errorf("gradient of %s differs", wrt[k].Name())
				}
			}
			s.Release()
		}
	}
}

// Elements that nobody reads any more make room for others; what is kept is
// what the run computed, and stays it through a Backward.
func TestKeep(t *testing.T) {
	m := transformer(t)
	r := rand.New(rand.NewPCG(9, 9))
	x := normals(r, 2, 5, 8)
	w := m.Graph.Value("f2.weight")
	all := floating(t, m, x)
	whole := forward(t, program(t, m, Options{Wrt: values{w}, Keep: all}), x)
	s := forward(t, program(t, m, Options{Wrt: values{w}, Keep: values{m.Graph.Value("Softmax")}}), x)
	for range 2 {
		if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{normals(r, 2, 3)})); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for _, v := range all {
		got := s.Value(v)
		if got.Kind == tensor.KindNone {
			continue
		}
		if kept++; !tensor.Equal(got.Tensor, whole.Value(v).Tensor) {
			t.Errorf("%s is not what was computed", v.Name())
		}
	}
	if s.Value(m.Graph.Value("Softmax")).Kind == tensor.KindNone {
		t.Error("what was to be kept is gone")
	}
	if kept == len(all) {
		t.Errorf("all of %d values are kept", kept)
	}
}

// The gradient goes through the elements that the run kept, also when another
// run, or another random step, has drawn since.
func TestDropout(t *testing.T) {
	n, x := newNet(t, "x", 6, 8)
	w := n.weight("w", 0, 1, 8, 8)
	yes := tensor.Scalar(true)
	h := n.node("Dropout", values{n.node("MatMul", values{x, w}), n.m.Graph.NewConst("ratio", tensor.Scalar(0.3)), n.m.Graph.NewConst("training", yes)})
	m := n.done(n.node("Dropout", values{h, n.m.Graph.NewConst("ratio2", tensor.Scalar(0.6)), n.m.Graph.NewConst("training2", yes)}))
	product := m.Graph.Value("MatMul")
	p := program(t, m, Options{Wrt: values{product}, Seed: 3})
	r := rand.New(rand.NewPCG(1, 2))
	in := normals(r, 6, 8)
	s := forward(t, p, in)
	other := forward(t, p, in)
	if tensor.Equal(s.Outputs()[0].Tensor, other.Outputs()[0].Tensor) {
		t.Error("two runs drew the same")
	}
	dout := normals(r, 6, 8)
	for range 2 {
		if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for i, g := range tensor.Data[float64](s.Grad(product)) {
			want, y := 0.0, tensor.Data[float64](s.Outputs()[0].Tensor)[i]
			if y != 0 {
				kept++
				want = tensor.Data[float64](dout)[i] / (0.7 * 0.4)
			}
			if math.Abs(g-want) > 1e-12 {
				t.Errorf("gradient %d is %v, wanted %v", i, g, want)
			}
		}
		if kept < 4 || kept > 30 {
			t.Errorf("%d of 48 elements were kept", kept)
		}
	}
}

// Gradients of zero, and values without a path.
func TestPaths(t *testing.T) {
	m := mlp(t)
	g := m.Graph
	early := g.Value("Relu")
	w1, w3 := g.Value("w1"), g.Value("w3")
	p := program(t, m, Options{Wrt: values{w1, w3, early}, Outputs: values{early}})
	r := rand.New(rand.NewPCG(1, 2))
	s := forward(t, p, normals(r, 5, 4))
	if v := s.Value(g.Outputs[0]); v.Kind != tensor.KindNone {
		t.Errorf("found the output %v, which nothing asked for", v.Tensor)
	}
	if err := s.Backward(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if d := s.Grad(w1); d == nil || slices.ContainsFunc(tensor.Data[float64](d), func(v float64) bool { return v != 0 }) {
		t.Errorf("without a gradient of the output, w1's is %v", d)
	}
	if d := s.Grad(w3); d != nil {
		t.Errorf("found a gradient of w3, which the output does not depend on: %v", d)
	}
	dout := normals(r, 5, 7)
	if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(s.Grad(early), dout) {
		t.Error("the gradient of an output by itself is not its own")
	}
	if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{normals(r, 5, 6)})); err == nil || !strings.Contains(err.Error(), "float64[5 6], the output is float64[5 7]") {
		t.Errorf("error is %v", err)
	}
}

func TestNotDifferentiable(t *testing.T) {
	n, x := newNet(t, "x", 4, 6)
	w := n.weight("w", 0, 1, 6, 6)
	h := n.node("MatMul", values{x, w})
	hard := n.node("Hardmax", values{h})
	drawn := n.node("Bernoulli", values{hard})
	top := n.node("ArgMax", values{h})
	other := n.node("Hardmax", values{n.node("Bernoulli", values{x})})
	m := n.done(n.node("Add", values{drawn, other}), n.node("Gather", values{x, top}))
	_, err := New(m, Options{Wrt: values{w}})
	var bad *NotDifferentiableError
	if !errors.As(err, &bad) {
		t.Fatalf("error is %v", err)
	}
	if len(bad.Nodes) != 2 || bad.Nodes[0].OpType != "Hardmax" || bad.Nodes[1].OpType != "Bernoulli" {
		t.Errorf("found %v", bad)
	}
	// ArgMax's output does not vary continuously: there is no path through it.
	if _, err := New(m, Options{Wrt: values{w}, Outputs: m.Graph.Outputs[1:]}); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	n, x := newNet(t, "x", 4, 6)
	m := n.done(n.node("Nonesuch", values{n.node("Missing", values{x})}))
	_, err := New(m, Options{})
	var u *runtime.UnsupportedError
	if !errors.As(err, &u) || len(u.Nodes) != 2 {
		t.Errorf("error is %v", err)
	}
	m = mlp(t)
	if _, err := New(m, Options{Wrt: mlp(t).Graph.Consts()}); err == nil || !strings.Contains(err.Error(), "no value of the model's graph") {
		t.Errorf("error is %v", err)
	}
	p := program(t, m, Options{})
	var in *runtime.InputError
	if _, err := p.Forward(context.Background(), asValues([]*tensor.Tensor{tensor.New(tensor.Float64, 5, 3)})); !errors.As(err, &in) || in.Found != "float64[5 3]" {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Forward(ctx, asValues([]*tensor.Tensor{tensor.New(tensor.Float64, 5, 4)})); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
