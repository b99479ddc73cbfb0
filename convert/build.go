package convert

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// builder adds nodes and constants to a model, in the forms of its operator
// set and IR version.
type builder struct {
	model  *graph.Model
	opset  int64
	values map[string]bool // names taken anywhere in the model
	nodes  map[string]bool
}

func newBuilder(m *graph.Model) *builder {
	b := &builder{model: m, opset: m.Opset(""), values: map[string]bool{}, nodes: map[string]bool{}}
	// A name in a subgraph would hide the same name outside, so all count;
	// Graph.FreshName sees only the graphs around its own.
	eachGraph(m, func(g *graph.Graph) {
		for _, v := range g.Inputs {
			b.values[v.Name()] = true
		}
		for _, v := range g.Consts() {
			b.values[v.Name()] = true
		}
		for _, n := range g.Nodes() {
			b.nodes[n.Name] = true
			for _, v := range n.Outputs() {
				if v != nil {
					b.values[v.Name()] = true
				}
			}
		}
	})
	return b
}

// fresh is base, or base with a number, and marks it as taken.
func fresh(taken map[string]bool, base string) string {
	name := base
	for i := 1; taken[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	taken[name] = true
	return name
}

// initializer adds a constant to g. Up to IR version 3 an initializer has to
// be an input of its graph too; a subgraph's inputs are not free, so there it
// is the output of a Constant node.
func (b *builder) initializer(g *graph.Graph, name string, t *tensor.Tensor) (*graph.Value, error) {
	if b.model.IRVersion < 4 && g.Outer() != nil {
		return b.constantNode(g, g.Nodes()[0], name, t)
	}
	v, err := g.NewValue(fresh(b.values, name), graph.TypeOf(t))
	if err != nil {
		return nil, err
	}
	v.SetConst(t)
	if b.model.IRVersion < 4 {
		g.Inputs = append(g.Inputs, v)
	}
	return v, nil
}

// constantNode adds a constant as a node before at.
func (b *builder) constantNode(g *graph.Graph, at *graph.Node, name string, t *tensor.Tensor) (*graph.Value, error) {
	v, err := g.NewValue(fresh(b.values, name), graph.TypeOf(t))
	if err != nil {
		return nil, err
	}
	n, err := g.NewNode("", "Constant", fresh(b.nodes, name), nil, []*graph.Value{v},
		&graph.Attr{Name: "value", Type: graph.AttrTensor, T: t})
	if err != nil {
		return nil, err
	}
	g.InsertBefore(at, n)
	return v, nil
}

// site is a place in a graph where the nodes that replace a layer go. The
// first error sticks, so that a rewrite reads as a list of its nodes.
type site struct {
	*builder
	g    *graph.Graph
	at   *graph.Node // new nodes go before it
	name string      // of the layer
	err  error
}

// node adds a node of one output and returns that.
func (s *site) node(opType, role string, inputs []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	if s.err != nil {
		return nil
	}
	name := s.name + ".bilinc." + role
	v, err := s.g.NewValue(fresh(s.values, name), graph.Type{})
	if err != nil {
		s.err = err
		return nil
	}
	n, err := s.g.NewNode("", opType, fresh(s.nodes, name), inputs, []*graph.Value{v}, attrs...)
	if err != nil {
		s.err = err
		return nil
	}
	s.g.InsertBefore(s.at, n)
	return v
}

// ints is a constant of integers, in the main graph, which every subgraph sees:
// before operator set 9 no Constant node may hold integers.
func (s *site) ints(role string, v ...int) *graph.Value {
	if s.err != nil {
		return nil
	}
	t := tensor.New(tensor.Int64, len(v))
	for i, n := range v {
		tensor.Data[int64](t)[i] = int64(n)
	}
	var c *graph.Value
	c, s.err = s.initializer(s.model.Graph, s.name+".bilinc."+role, t)
	return c
}

func (s *site) reshape(role string, x *graph.Value, shape ...int) *graph.Value {
	return s.node("Reshape", role, []*graph.Value{x, s.ints(role+".shape", shape...)})
}

func (s *site) matMul(role string, a, b *graph.Value) *graph.Value {
	return s.node("MatMul", role, []*graph.Value{a, b})
}

// transpose swaps the axes of a matrix.
func (s *site) transpose(role string, x *graph.Value) *graph.Value {
	return s.node("Transpose", role, []*graph.Value{x}, intsAttr("perm", 1, 0))
}

// pad appends n zeros along an axis of x, which has the given rank.
func (s *site) pad(role string, x *graph.Value, rank, axis, n int) *graph.Value {
	pads := make([]int, 2*rank)
	pads[rank+axis] = n
	if s.opset < 11 {
		return s.node("Pad", role, []*graph.Value{x}, intsAttr("pads", pads...))
	}
	return s.node("Pad", role, []*graph.Value{x, s.ints(role+".pads", pads...)})
}

// slice keeps the indices from start to end of an axis.
func (s *site) slice(role string, x *graph.Value, axis, start, end int) *graph.Value {
	if s.opset < 10 {
		return s.node("Slice", role, []*graph.Value{x}, intsAttr("axes", axis), intsAttr("starts", start), intsAttr("ends", end))
	}
	return s.node("Slice", role, []*graph.Value{x,
		s.ints(role+".start", start), s.ints(role+".end", end), s.ints(role+".axis", axis)})
}

// yield makes the node that computed v compute the output of old instead,
// under its name, for its readers.
func (s *site) yield(v *graph.Value, old *graph.Node) {
	if s.err != nil {
		return
	}
	p := v.Producer()
	inputs, attrs := slices.Clone(p.Inputs()), p.Attrs
	if s.err = s.g.Remove(p); s.err != nil {
		return
	}
	delete(s.values, v.Name())
	n, err := s.g.NewNode("", p.OpType, p.Name, inputs, []*graph.Value{nil}, attrs...)
	if err != nil {
		s.err = err
		return
	}
	s.g.InsertBefore(s.at, n)
	s.err = n.TakeOutput(0, old, 0)
}

func intsAttr(name string, v ...int) *graph.Attr {
	a := &graph.Attr{Name: name, Type: graph.AttrInts, Ints: make([]int64, len(v))}
	for i, n := range v {
		a.Ints[i] = int64(n)
	}
	return a
}

// prune removes a value that nothing reads any more: an initializer, or the
// node that makes it and what that alone read.
func prune(v *graph.Value) error {
	if v == nil || len(v.Uses()) > 0 || v.IsOutput() {
		return nil
	}
	p := v.Producer()
	if p == nil {
		if v.Init() == nil {
			return nil // an input of the graph stays
		}
		return v.Graph().RemoveValue(v)
	}
	for _, out := range p.Outputs() {
		if out != nil && (len(out.Uses()) > 0 || out.IsOutput()) {
			return nil
		}
	}
	inputs := slices.Clone(p.Inputs())
	if err := p.Graph().Remove(p); err != nil {
		return err
	}
	for _, in := range inputs {
		if err := prune(in); err != nil {
			return err
		}
	}
	return nil
}
