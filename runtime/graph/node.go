package graph

import (
	"fmt"
	"slices"

	"bilinc/runtime/tensor"
)

// A Node applies an operator to values.
type Node struct {
	Domain   string
	OpType   string
	Overload string // of a model's function
	Name     string
	Doc      string
	Attrs    []*Attr
	Origin   any

	graph   *Graph
	inputs  []*Value // nil: an input left out
	outputs []*Value // nil: an output left out
}

// AttrType is the type of an attribute, numbered as in ONNX's AttributeProto.
type AttrType int32

// The types of attributes.
const (
	AttrUndefined     AttrType = 0
	AttrFloat         AttrType = 1
	AttrInt           AttrType = 2
	AttrString        AttrType = 3
	AttrTensor        AttrType = 4
	AttrGraph         AttrType = 5
	AttrFloats        AttrType = 6
	AttrInts          AttrType = 7
	AttrStrings       AttrType = 8
	AttrTensors       AttrType = 9
	AttrGraphs        AttrType = 10
	AttrSparseTensor  AttrType = 11
	AttrSparseTensors AttrType = 12
	AttrTypeProto     AttrType = 13
	AttrTypeProtos    AttrType = 14
)

var attrTypeNames = [...]string{"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints",
	"strings", "tensors", "graphs", "sparse tensor", "sparse tensors", "type", "types"}

func (t AttrType) String() string {
	if t < 0 || int(t) >= len(attrTypeNames) {
		return fmt.Sprintf("AttrType(%d)", int32(t))
	}
	return attrTypeNames[t]
}

// An Attr is a named constant of a node. Type says which field holds it. A
// sparse tensor is densified into T, with the sparse form in Origin.
type Attr struct {
	Name    string
	Type    AttrType
	F       float32
	I       int64
	S       []byte
	T       *tensor.Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*tensor.Tensor
	Graphs  []*Graph
	TP      *Type  // AttrTypeProto
	Ref     string // in a function: the function's attribute it stands for
	// Origin is the file's form; the writer uses it as it is while it is set.
	Origin any
}

// NewNode returns a node of g that is not yet in its list; add it with
// Append or InsertBefore after its inputs and outputs are set. The uses of
// the inputs count from here on.
func (g *Graph) NewNode(domain, opType, name string, inputs, outputs []*Value, attrs ...*Attr) (*Node, error) {
	n := &Node{Domain: domain, OpType: opType, Name: name, Attrs: attrs, graph: g,
		inputs: slices.Clone(inputs), outputs: slices.Clone(outputs)}
	for i, v := range outputs {
		if v == nil {
			continue
		}
		if v.graph != g {
			return nil, fmt.Errorf("%v: output %q is of another graph", n, v.name)
		}
		if v.producer != nil || v.init != nil || slices.Contains(outputs[:i], v) || v.IsInput() {
			return nil, fmt.Errorf("%v: value %q is defined twice", n, v.name)
		}
	}
	for _, v := range outputs {
		if v != nil {
			v.producer = n
		}
	}
	for i, v := range inputs {
		if v != nil {
			v.uses = append(v.uses, Use{n, i})
		}
	}
	return n, nil
}

// Append puts a new node at the end of g's list.
func (g *Graph) Append(n *Node) { g.nodes = append(g.nodes, n) }

// InsertBefore puts new nodes into g's list before at.
func (g *Graph) InsertBefore(at *Node, nodes ...*Node) {
	i := slices.Index(g.nodes, at)
	g.nodes = slices.Insert(g.nodes, i, nodes...)
}

// Remove takes a node out of g, with its outputs. It refuses while one of
// them is still read or given out.
func (g *Graph) Remove(n *Node) error {
	i := slices.Index(g.nodes, n)
	if i < 0 {
		return fmt.Errorf("%v is not in graph %q", n, g.Name)
	}
	for _, v := range n.outputs {
		if v != nil && (len(v.uses) > 0 || v.outputs > 0) {
			return fmt.Errorf("%v cannot go: its output %q is still wanted", n, v.name)
		}
	}
	for k := range n.inputs {
		n.SetInput(k, nil)
	}
	for _, a := range n.Attrs {
		for _, s := range a.Subgraphs() {
			s.release()
		}
	}
	for _, v := range n.outputs {
		if v != nil {
			delete(g.names, v.name)
		}
	}
	g.nodes = slices.Delete(g.nodes, i, i+1)
	return nil
}

// release drops every use that g's nodes and outputs make of values, so that
// the graphs around g no longer see them.
func (g *Graph) release() {
	for _, v := range g.Outputs {
		v.outputs--
	}
	for _, n := range g.nodes {
		for k := range n.inputs {
			n.SetInput(k, nil)
		}
		for _, a := range n.Attrs {
			for _, s := range a.Subgraphs() {
				s.release()
			}
		}
	}
}

// TakeOutput moves the i-th output of old, which keeps its name and readers,
// to be the k-th output of n: how a rewrite replaces the node behind a value.
func (n *Node) TakeOutput(k int, old *Node, i int) error {
	v := old.outputs[i]
	if v == nil || n.outputs[k] != nil || n.graph != old.graph {
		return fmt.Errorf("%v cannot take over output %d of %v", n, i, old)
	}
	old.outputs[i], n.outputs[k] = nil, v
	v.producer = n
	return nil
}

// Graph is the graph that the node is of.
func (n *Node) Graph() *Graph { return n.graph }

// Inputs is the values that the node reads, nil where one is left out; the
// caller must not change the slice.
func (n *Node) Inputs() []*Value { return n.inputs }

// Outputs is the values that the node makes, nil where one is left out; the
// caller must not change the slice.
func (n *Node) Outputs() []*Value { return n.outputs }

// Input is the i-th input, nil where it is left out or beyond the last.
func (n *Node) Input(i int) *Value {
	if i >= len(n.inputs) {
		return nil
	}
	return n.inputs[i]
}

// SetInput makes v (nil: nothing) the i-th input.
func (n *Node) SetInput(i int, v *Value) {
	if old := n.inputs[i]; old != nil {
		old.dropUse(n, i)
	}
	n.inputs[i] = v
	if v != nil {
		v.uses = append(v.uses, Use{n, i})
	}
}

// Attr finds an attribute; nil where the node has none of that name.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Subgraphs is the graphs in an attribute.
func (a *Attr) Subgraphs() []*Graph {
	if a.G != nil {
		return []*Graph{a.G}
	}
	return a.Graphs
}

// Subgraphs is the graphs in all attributes of the node.
func (n *Node) Subgraphs() []*Graph {
	var out []*Graph
	for _, a := range n.Attrs {
		out = append(out, a.Subgraphs()...)
	}
	return out
}

// constant is the value of a Constant node; nil where it has none.
func (n *Node) constant() *tensor.Tensor {
	if len(n.Attrs) != 1 {
		return nil
	}
	a := n.Attrs[0]
	if a.Ref != "" {
		return nil
	}
	switch a.Type {
	case AttrTensor, AttrSparseTensor:
		return a.T
	case AttrFloat:
		return tensor.Scalar(a.F)
	case AttrInt:
		return tensor.Scalar(a.I)
	case AttrString:
		return tensor.Scalar(string(a.S))
	case AttrFloats:
		return tensor.Of(a.Floats, len(a.Floats))
	case AttrInts:
		return tensor.Of(a.Ints, len(a.Ints))
	case AttrStrings:
		s := make([]string, len(a.Strings))
		for i, b := range a.Strings {
			s[i] = string(b)
		}
		return tensor.Of(s, len(s))
	}
	return nil
}

// Label is the node's name, or where it has none its first output's.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	for _, v := range n.outputs {
		if v != nil {
			return v.name
		}
	}
	return ""
}

// String names the node as errors do: node "fc1" (Gemm).
func (n *Node) String() string {
	op := n.OpType
	if d := normalDomain(n.Domain); d != "" {
		op = d + "." + op
	}
	return fmt.Sprintf("node %q (%s)", n.Label(), op)
}

// Walk calls f for every node of g and of its subgraphs, outer before inner.
func (g *Graph) Walk(f func(*Node)) {
	for _, n := range g.nodes {
		f(n)
		for _, s := range n.Subgraphs() {
			s.Walk(f)
		}
	}
}
