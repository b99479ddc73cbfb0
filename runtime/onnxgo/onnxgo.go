// Package onnxgo runs models that onnx-go has decoded on bilinc's runtime: a
// [Graph] is a backend for [onnx.NewModel], as gorgonnx.NewGraph makes one.
//
// onnx-go does not pass on all of a model: not the opset, which Graph can be
// told, nor symbolic dimensions, for which it takes those of the tensors given,
// nor domains, element types beside bool, int32, int64, float32 and float64,
// external data or subgraphs. bilinc's own reader (package bilinc/convert/onnx)
// keeps them all.
//
// The package is a module of its own, so that nothing else of bilinc needs
// onnx-go and what it needs.
package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	onnx "github.com/owulveryck/onnx-go"
	gonum "gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	gorgonia "gorgonia.org/tensor"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A Graph is what onnx-go decodes a model into. Its fields are read at the
// first Run. It is not safe for concurrent use.
type Graph struct {
	// Opset is the operator set of the model, which onnx-go does not pass on. 0:
	// the one of Guesses under which the model can be run.
	Opset int64
	// Options is how the model is run; Outputs is not used.
	Options runtime.Options

	*simple.WeightedDirectedGraph
	nodes   []*Node // by ID
	calls   []*call
	program *program
}

// Guesses is the operator sets that are tried in order where none is given:
// those of onnx-go's time first.
var Guesses = []int64{9, 10, 8, 7, 11, 12, 13, 17, 18, 21, 6}

// NewGraph is an empty graph, a backend for [onnx.NewModel].
func NewGraph() *Graph {
	return &Graph{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, 0)}
}

// A call is an operation of the graph.
type call struct {
	op  onnx.Operation
	in  []*Node // nil: left out
	out []*Node // nil: not wanted
}

// A Node is a tensor of the graph: an input, a weight or what an operation
// gives out.
type Node struct {
	id   int64
	g    *Graph
	name string
	in   []*Node // of the operation that makes it
	made bool    // by an operation
	// How often it was set before the first operation came: a placeholder once
	// for a declared value, the contents of an initializer after that.
	sets  int
	input bool // it was set later: whoever runs the model sets it
	value gorgonia.Tensor
	// wanted: it has been asked for though others read it.
	wanted, read bool
}

// ID is the number of the node, counted from 0.
func (n *Node) ID() int64 { return n.id }

// SetName names the tensor.
func (n *Node) SetName(name string) { n.name = name }

// GetName is the name of the tensor.
func (n *Node) GetName() string { return n.name }

// SetTensor gives the node a value, which Run reads: the caller must not
// change it until then, nor ever where it is a weight of the model.
func (n *Node) SetTensor(t gorgonia.Tensor) error {
	n.value = t
	if len(n.g.calls) == 0 {
		n.sets++
		return nil
	}
	if n.g.program != nil && !n.input {
		n.g.program = nil // it was taken for a weight
	}
	n.input = true
	return nil
}

// GetTensor is the value of the node: after Run what the model has computed,
// nil where it could not be.
func (n *Node) GetTensor() gorgonia.Tensor {
	if n.made && n.read && !n.wanted && n.g.program != nil {
		// The run that made the outputs did not keep it.
		n.wanted, n.g.program = true, nil
		if err := n.g.Run(); err != nil {
			n.value = nil
		}
	}
	return n.value
}

// NewNode is a node that is not in the graph yet.
func (g *Graph) NewNode() gonum.Node {
	n := &Node{id: int64(len(g.nodes)), g: g}
	g.nodes = append(g.nodes, n)
	return n
}

// SetWeightedEdge takes down that an operation that makes the edge's first node
// reads its second, in the position that the weight says.
func (g *Graph) SetWeightedEdge(e gonum.WeightedEdge) {
	to, from := e.From().(*Node), e.To().(*Node)
	for len(to.in) <= int(e.Weight()) {
		to.in = append(to.in, nil)
	}
	to.in[int(e.Weight())] = from
	if to != from { // the shared node of what is left out may meet itself
		g.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation adds an operation that makes the given nodes. Its error is an
// *onnx.ErrNotImplemented where bilinc has no such operator.
func (g *Graph) ApplyOperation(o onnx.Operation, outputs ...gonum.Node) error {
	c := &call{op: o}
	for _, v := range outputs {
		n := v.(*Node)
		if n.name == "" {
			c.out = append(c.out, nil)
			continue
		}
		n.made = true
		c.out = append(c.out, n)
		c.in = n.in
	}
	for i, n := range c.in {
		if n != nil && n.name == "" {
			c.in[i] = nil
		}
	}
	// onnx-go gives an operation without inputs one that has no value.
	if len(c.in) == 1 && c.in[0] != nil && !c.in[0].made && c.in[0].value == nil && c.in[0].sets == 0 {
		if _, err := g.parse(c, 0); err == nil {
			c.in = nil
		}
	}
	if _, err := g.parse(c, len(c.in)); err != nil {
		return notImplemented(o.Name, err)
	}
	for _, n := range c.in {
		if n != nil {
			n.read = true
		}
	}
	g.calls = append(g.calls, c)
	g.program = nil
	return nil
}

// parse tries the operation, with inputs left out from the given number on,
// under the operator sets that are in question. The error is that of the first.
func (g *Graph) parse(c *call, inputs int) (opset int64, err error) {
	attrs, err := attributes(c.op.Attributes)
	if err != nil {
		return 0, err
	}
	for _, opset := range g.opsets() {
		scratch := graph.New("", nil)
		in, out := make([]*graph.Value, inputs), make([]*graph.Value, len(c.out))
		for i, n := range c.in[:inputs] {
			if n != nil {
				in[i] = scratch.Lookup(n.key())
				if in[i] == nil {
					in[i], _ = scratch.AddInput(n.key(), graph.Type{})
				}
			}
		}
		for i, n := range c.out {
			if n != nil {
				out[i], _ = scratch.NewValue(n.key(), graph.Type{})
			}
		}
		n, nodeErr := scratch.NewNode("", c.op.Name, "", in, out, attrs...)
		if nodeErr != nil {
			return 0, nodeErr
		}
		parsed, parseErr := op.Parse(n, opset)
		if parseErr == nil && inputs == 0 {
			_, parseErr = parsed.Infer(nil, len(c.out))
		}
		if parseErr == nil {
			return opset, nil
		}
		if err == nil {
			err = parseErr
		}
	}
	return 0, err
}

func (g *Graph) opsets() []int64 {
	if g.Opset > 0 {
		return []int64{g.Opset}
	}
	return Guesses
}

// key is the node's name in the model: its own may stand for two nodes.
func (n *Node) key() string { return fmt.Sprintf("%s#%d", n.name, n.id) }

// notImplemented is err as onnx-go reports it where an operator is missing.
func notImplemented(name string, err error) error {
	var u *op.Unsupported
	if !errors.As(err, &u) {
		return err
	}
	return &onnx.ErrNotImplemented{Operator: name, Message: err.Error()}
}

// Run computes the outputs from the values of the inputs. The error is an
// *onnx.ErrNotImplemented where the model needs what bilinc has not.
func (g *Graph) Run() error {
	if g.program == nil || !g.program.fits() {
		p, err := g.compile()
		if err != nil {
			return err
		}
		g.program = p
	}
	return g.program.run()
}

// A program is the graph compiled for inputs of given types and ranks.
type program struct {
	*runtime.Program
	in, out []*Node
	types   []graph.Type
}

// isInput reports whether whoever runs the model gives the value of n, rather
// than the model itself. onnx-go declares the inputs first, then what
// operations make, and comes to the initializers last; one that is an input too
// is set twice.
func (g *Graph) isInput(n *Node) bool {
	if n.input {
		return true
	}
	first := int64(len(g.nodes))
	for _, c := range g.calls {
		for _, o := range c.out {
			if o != nil {
				first = min(first, o.id)
			}
		}
	}
	return n.sets < 2 && n.id < first
}

// compile compiles the graph under the first operator set that it fits.
func (g *Graph) compile() (*program, error) {
	var first error
	for _, opset := range g.opsets() {
		p, err := g.compileAs(opset)
		if err == nil {
			return p, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (g *Graph) compileAs(opset int64) (*program, error) {
	m := &graph.Model{Graph: graph.New("onnx-go", nil), IRVersion: 8, Opsets: []graph.Opset{{Version: opset}}}
	p := &program{}
	values := map[*Node]*graph.Value{}
	for _, c := range g.calls {
		for _, n := range c.in {
			if n == nil || n.made || values[n] != nil {
				continue
			}
			t, err := fromGorgonia(n.value)
			if err != nil {
				return nil, fmt.Errorf("value of %q: %w", n.name, err)
			}
			if !g.isInput(n) {
				values[n] = m.Graph.NewConst(n.key(), t)
				continue
			}
			kind := shapeless(t)
			v, err := m.Graph.AddInput(n.key(), kind)
			if err != nil {
				return nil, err
			}
			values[n] = v
			p.in, p.types = append(p.in, n), append(p.types, kind)
		}
	}
	for _, c := range g.calls {
		for _, n := range c.out {
			if n == nil {
				continue
			}
			v, err := m.Graph.NewValue(n.key(), graph.Type{})
			if err != nil {
				return nil, err
			}
			values[n] = v
		}
	}
	for _, c := range g.calls {
		attrs, err := attributes(c.op.Attributes)
		if err != nil {
			return nil, err
		}
		of := func(ns []*Node) []*graph.Value {
			vs := make([]*graph.Value, len(ns))
			for i, n := range ns {
				if n != nil {
					vs[i] = values[n]
				}
			}
			return vs
		}
		n, err := m.Graph.NewNode("", c.op.Name, "", of(c.in), of(c.out), attrs...)
		if err != nil {
			return nil, err
		}
		m.Graph.Append(n)
		for _, o := range c.out {
			if o != nil && (!o.read || o.wanted) {
				m.Graph.AddOutput(values[o])
				p.out = append(p.out, o)
			}
		}
	}
	var err error
	if p.Program, err = runtime.Compile(m, g.Options); err != nil {
		var missing *runtime.UnsupportedError
		if errors.As(err, &missing) && len(missing.Nodes) > 0 {
			return nil, &onnx.ErrNotImplemented{Operator: missing.Nodes[0].Node.OpType, Message: err.Error()}
		}
		return nil, err
	}
	return p, nil
}

// shapeless is t's element type and rank.
func shapeless(t *tensor.Tensor) graph.Type {
	dims := make([]graph.Dim, t.Rank())
	for i := range dims {
		dims[i] = graph.Unknown
	}
	return graph.TensorType(t.DType(), dims...)
}

// fits reports whether the inputs have the types that p was compiled for.
func (p *program) fits() bool {
	for i, n := range p.in {
		t, err := fromGorgonia(n.value)
		if err != nil {
			return false
		}
		if kind := shapeless(t); kind.DType != p.types[i].DType || !slices.Equal(kind.Shape, p.types[i].Shape) {
			return false
		}
	}
	return true
}

// run computes the outputs of the graph and sets their nodes' values.
func (p *program) run() error {
	in := make([]tensor.Value, len(p.in))
	for i, n := range p.in {
		t, err := fromGorgonia(n.value)
		if err != nil {
			return fmt.Errorf("value of %q: %w", n.name, err)
		}
		in[i] = tensor.ValueOf(t)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		return err
	}
	for i, n := range p.out {
		if out[i].Kind != tensor.KindTensor {
			return fmt.Errorf("output %q is a %v, which gorgonia has not", n.name, out[i].Kind)
		}
		if n.value, err = toGorgonia(out[i].Tensor); err != nil {
			return fmt.Errorf("output %q: %w", n.name, err)
		}
	}
	return nil
}
