package runtime_test

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A modelBuilder makes a small model, and ends the test where that fails.
type modelBuilder struct {
	t testing.TB
	*graph.Model
	g *graph.Graph
}

func newModel(t testing.TB) *modelBuilder {
	m := &graph.Model{Graph: graph.New("test", nil), IRVersion: 8, Opsets: []graph.Opset{{Version: 17}}}
	return &modelBuilder{t, m, m.Graph}
}

// in is the builder for another graph of the model: a subgraph, a function.
func (b *modelBuilder) in(g *graph.Graph) *modelBuilder { return &modelBuilder{b.t, b.Model, g} }

// input adds an input, whose dimensions are numbers (int) or symbols (string).
func (b *modelBuilder) input(name string, d tensor.DType, shape ...any) *graph.Value {
	b.t.Helper()
	dims := []graph.Dim{}
	for _, s := range shape {
		switch s := s.(type) {
		case int:
			dims = append(dims, graph.Size(s))
		case string:
			dims = append(dims, graph.Symbol(s))
		}
	}
	v, err := b.g.AddInput(name, graph.TensorType(d, dims...))
	b.must(err)
	return v
}

func (b *modelBuilder) floats(name string, elems []float32, shape ...int) *graph.Value {
	return b.g.NewConst(name, tensor.Of(elems, shape...))
}

func (b *modelBuilder) ints(name string, elems ...int64) *graph.Value {
	return b.g.NewConst(name, tensor.Of(elems, len(elems)))
}

// node adds a node of one output, which gets the node's name.
func (b *modelBuilder) node(opType, name string, inputs []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	b.t.Helper()
	return b.nodes(opType, []string{name}, inputs, attrs...)[0]
}

// nodes adds a node of several outputs; an empty name leaves one out.
func (b *modelBuilder) nodes(opType string, names []string, inputs []*graph.Value, attrs ...*graph.Attr) []*graph.Value {
	b.t.Helper()
	outs := make([]*graph.Value, len(names))
	for i, name := range names {
		if name == "" {
			continue
		}
		v, err := b.g.NewValue(name, graph.Type{})
		b.must(err)
		outs[i] = v
	}
	n, err := b.g.NewNode("", opType, names[0], inputs, outs, attrs...)
	b.must(err)
	b.g.Append(n)
	return outs
}

func (b *modelBuilder) outputs(vs ...*graph.Value) {
	for _, v := range vs {
		b.g.AddOutput(v)
	}
}

func (b *modelBuilder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func vals(vs ...*graph.Value) []*graph.Value { return vs }

func intAttr(name string, v int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInt, I: v}
}

// f32 is a float32 value 1, 2, 3, … of a shape.
func f32(shape ...int) tensor.Value {
	t := tensor.New(tensor.Float32, shape...)
	for i, x := 0, tensor.Data[float32](t); i < len(x); i++ {
		x[i] = float32(i + 1)
	}
	return tensor.ValueOf(t)
}

func floatsOf(elems []float32, shape ...int) tensor.Value {
	return tensor.ValueOf(tensor.Of(elems, shape...))
}
