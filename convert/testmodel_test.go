package convert

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// modeller builds small models, failing the test on any error.
type modeller struct {
	t   testing.TB
	m   *graph.Model
	g   *graph.Graph
	rng *rand.Rand
	d   tensor.DType // of constants
}

func newModeller(t testing.TB, ir, opset int64) *modeller {
	g := graph.New("main", nil)
	return &modeller{t: t, g: g, rng: rand.New(rand.NewPCG(1, 2)), d: tensor.Float32,
		m: &graph.Model{Graph: g, IRVersion: ir, Opsets: []graph.Opset{{Version: opset}}}}
}

func (b *modeller) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// dims makes dimensions of numbers and names.
func dims(v ...any) []graph.Dim {
	out := make([]graph.Dim, len(v))
	for i, d := range v {
		switch d := d.(type) {
		case int:
			out[i] = graph.Size(d)
		case string:
			out[i] = graph.Symbol(d)
		}
	}
	return out
}

func (b *modeller) input(name string, v ...any) *graph.Value {
	b.t.Helper()
	x, err := b.g.AddInput(name, graph.TensorType(b.d, dims(v...)...))
	b.must(err)
	return x
}

// unranked is an input of which not even the rank is declared.
func (b *modeller) unranked(name string) *graph.Value {
	b.t.Helper()
	x, err := b.g.AddInput(name, graph.Type{Kind: tensor.KindTensor, DType: b.d})
	b.must(err)
	return x
}

func (b *modeller) init(name string, t *tensor.Tensor) *graph.Value {
	b.t.Helper()
	v, err := b.g.NewValue(name, graph.TypeOf(t))
	b.must(err)
	v.SetConst(t)
	if b.m.IRVersion < 4 && b.g.Outer() == nil {
		b.g.Inputs = append(b.g.Inputs, v)
	}
	return v
}

// random is a tensor of normal numbers in the element type of constants.
func (b *modeller) random(shape ...int) *tensor.Tensor {
	b.t.Helper()
	n, err := tensor.Elements(shape)
	b.must(err)
	v := make([]float64, n)
	for i := range v {
		v[i] = b.rng.NormFloat64()
	}
	t, err := tensor.FromFloat64s(b.d, v, shape...)
	b.must(err)
	return t
}

// weight adds a random initializer.
func (b *modeller) weight(name string, shape ...int) *graph.Value {
	b.t.Helper()
	return b.init(name, b.random(shape...))
}

func (b *modeller) ints(name string, v ...int64) *graph.Value {
	b.t.Helper()
	return b.init(name, tensor.Of(v, len(v)))
}

// constant adds a Constant node.
func (b *modeller) constant(name string, t *tensor.Tensor) *graph.Value {
	b.t.Helper()
	return b.op("Constant", name, nil, &graph.Attr{Name: "value", Type: graph.AttrTensor, T: t})
}

// op adds a node of one output; its own name is the output's with "n_" before.
func (b *modeller) op(opType, out string, in []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	b.t.Helper()
	v, err := b.g.NewValue(out, graph.Type{})
	b.must(err)
	n, err := b.g.NewNode("", opType, "n_"+out, in, []*graph.Value{v}, attrs...)
	b.must(err)
	b.g.Append(n)
	return v
}

// declare gives v a type that inference does not find.
func (b *modeller) declare(v *graph.Value, shape ...any) *graph.Value {
	v.Type = graph.TensorType(b.d, dims(shape...)...)
	return v
}

func (b *modeller) output(vs ...*graph.Value) {
	for _, v := range vs {
		b.g.AddOutput(v)
	}
}

// body builds a subgraph by f and returns it.
func (b *modeller) body(name string, f func(b *modeller)) *graph.Graph {
	c := *b
	c.g = graph.New(name, b.g)
	f(&c)
	return c.g
}

// model checks and returns what was built, with the types of outputs declared.
func (b *modeller) model() *graph.Model {
	b.t.Helper()
	facts, err := op.Infer(b.m, nil)
	b.must(err)
	eachGraph(b.m, func(g *graph.Graph) {
		for _, v := range g.Outputs {
			if v.Type.Kind == tensor.KindNone {
				v.Type = facts.Of(v).Type
			}
		}
	})
	b.must(b.m.Check())
	return b.m
}

func list(v ...*graph.Value) []*graph.Value { return v }

func attrInt(name string, v int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInt, I: v}
}

func attrFloat(name string, v float32) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrFloat, F: v}
}

func attrInts(name string, v ...int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInts, Ints: v}
}

func attrGraph(name string, g *graph.Graph) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrGraph, G: g}
}

// runModel runs m on the given inputs, in the order of the inputs that have no
// initializer.
func runModel(t testing.TB, m *graph.Model, inputs ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	ts, err := outputsOf(t, m, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// tryModel is the error of a run.
func tryModel(t testing.TB, m *graph.Model, inputs ...*tensor.Tensor) error {
	t.Helper()
	_, err := outputsOf(t, m, inputs)
	return err
}

func outputsOf(t testing.TB, m *graph.Model, inputs []*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	p, err := runtime.Compile(m, runtime.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	in := make([]tensor.Value, len(p.Inputs()))
	k := 0
	for i, port := range p.Inputs() {
		if !port.Optional {
			in[i] = tensor.ValueOf(inputs[k])
			k++
		}
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		return nil, err
	}
	ts := make([]*tensor.Tensor, len(out))
	for i, v := range out {
		ts[i] = v.Tensor
	}
	return ts, nil
}

// Tolerances of outputs, relative to their largest magnitude: what float32 and
// float64 arithmetic in another order gives, and what storing factors in 16
// bits gives.
const (
	tolFloat32  = 1e-5
	tolFloat64  = 1e-12
	tolFloat16  = 2e-2
	tolBFloat16 = 1e-1
)

func tolerance(d tensor.DType) float64 {
	return map[tensor.DType]float64{tensor.Float32: tolFloat32, tensor.Float64: tolFloat64,
		tensor.Float16: tolFloat16, tensor.BFloat16: tolBFloat16}[d]
}

// wantClose fails unless got is want, within tol of want's largest magnitude.
func wantClose(t testing.TB, what string, got, want *tensor.Tensor, tol float64) {
	t.Helper()
	if got.String() != want.String() {
		t.Errorf("%s: output is %v, want %v", what, got, want)
		return
	}
	a, err := tensor.Float64s(got)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := tensor.Float64s(want)
	worst, scale := 0.0, 0.0
	for i := range a {
		worst, scale = max(worst, math.Abs(a[i]-b[i])), max(scale, math.Abs(b[i]))
		if math.IsNaN(a[i]) {
			worst = math.Inf(1)
		}
	}
	if worst > tol*scale {
		t.Errorf("%s: outputs differ by %.3g, the largest is %.3g, tolerance %g", what, worst, scale, tol)
	}
}

// randomLike draws inputs for the model's own, with the sizes of symbols given.
func randomLike(t testing.TB, m *graph.Model, sizes map[string]int) []*tensor.Tensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	var out []*tensor.Tensor
	for _, v := range m.Graph.Inputs {
		if v.Init() != nil {
			continue
		}
		shape := []int{}
		for _, d := range v.Type.Shape {
			n, ok := d.Eval(sizes)
			if !ok {
				t.Fatalf("no size for dimension %v", d)
			}
			shape = append(shape, n)
		}
		if v.Type.DType == tensor.Bool {
			out = append(out, tensor.Of([]bool{true}, shape...))
			continue
		}
		n, _ := tensor.Elements(shape)
		x := make([]float64, n)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		r, err := tensor.FromFloat64s(v.Type.DType, x, shape...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func asInfeasible(err error, to **InfeasibleError) bool { return errors.As(err, to) }
