// Package graph is bilinc's intermediate representation of a model: values
// connected by nodes, with uses that are true after every edit. It knows
// neither file formats nor what operators mean.
package graph

import (
	"errors"
	"fmt"
	"slices"

	"bilinc/runtime/tensor"
)

// Opset is the version of an operator set that a model imports. The domain
// of ONNX's own operators is "".
type Opset struct {
	Domain  string
	Version int64
}

// KeyValue is one entry of a model's metadata.
type KeyValue struct{ Key, Value string }

// A Model is a graph with what a file says about it.
type Model struct {
	Graph           *Graph
	IRVersion       int64
	Opsets          []Opset
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Metadata        []KeyValue
	Functions       []*Function
	// Origin is what the reader left for the writer: whatever a file says
	// beyond the fields here goes back out from it. nil in a model made here.
	Origin any
}

// A Function is an operator that the model itself defines by nodes.
type Function struct {
	Domain, Name, Overload string
	Attrs                  []string // names of attributes without default
	Defaults               []*Attr  // attributes with default
	Opsets                 []Opset
	Graph                  *Graph // inputs and outputs are untyped
	Origin                 any
}

// Opset is the version that the model imports of domain, 0 where it does not.
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Opsets {
		if normalDomain(o.Domain) == normalDomain(domain) {
			return o.Version
		}
	}
	return 0
}

// normalDomain folds the two spellings of ONNX's own domain.
func normalDomain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// SetMetadata sets one entry, in place where the key is there already.
func (m *Model) SetMetadata(key, value string) {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			m.Metadata[i].Value = value
			return
		}
	}
	m.Metadata = append(m.Metadata, KeyValue{key, value})
}

// Meta is the metadata entry of a key.
func (m *Model) Meta(key string) (string, bool) {
	for _, kv := range m.Metadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// A Graph is a list of nodes over values. A subgraph (a branch of If, a body
// of Loop or Scan) is a Graph of its own whose nodes may also use values of
// the graphs around it.
type Graph struct {
	Name    string
	Doc     string
	Inputs  []*Value
	Outputs []*Value // set through SetOutput, which keeps uses true
	Origin  any

	nodes  []*Node
	consts []*Value // values with initializers, in the file's order
	outer  *Graph
	names  map[string]*Value
	serial int
}

// New returns an empty graph; outer is nil for a model's main graph.
func New(name string, outer *Graph) *Graph {
	return &Graph{Name: name, outer: outer, names: map[string]*Value{}}
}

// Outer is the graph around a subgraph; nil for a main graph.
func (g *Graph) Outer() *Graph { return g.outer }

// Nodes is the nodes in file order; the caller must not change the slice.
func (g *Graph) Nodes() []*Node { return g.nodes }

// Consts is the values that have an initializer, in file order; the caller
// must not change the slice.
func (g *Graph) Consts() []*Value { return g.consts }

// Value finds a value by name in g alone; nil where there is none.
func (g *Graph) Value(name string) *Value { return g.names[name] }

// Lookup finds a value by name in g or the graphs around it.
func (g *Graph) Lookup(name string) *Value {
	for ; g != nil; g = g.outer {
		if v := g.names[name]; v != nil {
			return v
		}
	}
	return nil
}

// NewValue adds a value without producer. The name must be free in g.
func (g *Graph) NewValue(name string, t Type) (*Value, error) {
	if name == "" {
		return nil, errors.New("a value must have a name")
	}
	if g.names[name] != nil {
		return nil, fmt.Errorf("value %q is defined twice", name)
	}
	v := &Value{name: name, Type: t, graph: g}
	g.names[name] = v
	return v, nil
}

// FreshName is base itself or base with a number, so that neither g nor a
// graph around it has a value of that name.
func (g *Graph) FreshName(base string) string {
	if g.Lookup(base) == nil {
		return base
	}
	for {
		g.serial++
		name := fmt.Sprintf("%s_%d", base, g.serial)
		if g.Lookup(name) == nil {
			return name
		}
	}
}

// NewConst adds a value with an initializer, under a name made free.
func (g *Graph) NewConst(name string, t *tensor.Tensor) *Value {
	v, _ := g.NewValue(g.FreshName(name), TypeOf(t))
	v.SetConst(t)
	return v
}

// A Value is an edge of the graph: a graph input, an initializer, or an
// output of a node.
type Value struct {
	Type Type
	// Origin belongs to the initializer; SetConst drops it.
	Origin any

	name     string
	graph    *Graph
	init     *tensor.Tensor
	producer *Node
	uses     []Use
	outputs  int // how often it is an output of its graph
}

// A Use is one input of a node that reads a value.
type Use struct {
	Node  *Node
	Input int
}

// Name is the name in the file, unique in its graph.
func (v *Value) Name() string { return v.name }

// Graph is the graph that defines v.
func (v *Value) Graph() *Graph { return v.graph }

// Producer is the node whose output v is; nil for inputs and initializers.
func (v *Value) Producer() *Node { return v.producer }

// Uses is the node inputs that read v, in this graph and in its subgraphs;
// the caller must not change the slice.
func (v *Value) Uses() []Use { return v.uses }

// IsOutput reports whether v is an output of its graph, or of a subgraph.
func (v *Value) IsOutput() bool { return v.outputs > 0 }

// IsInput reports whether v is listed among its graph's inputs; an
// initializer may be too (up to IR version 3 it must be).
func (v *Value) IsInput() bool { return slices.Contains(v.graph.Inputs, v) }

// Init is the initializer's tensor; nil where v has none.
func (v *Value) Init() *tensor.Tensor { return v.init }

// Const is the tensor that v is in every run: its initializer, or the value
// of the Constant node that makes it. nil where it depends on the inputs.
func (v *Value) Const() *tensor.Tensor {
	if v.init != nil {
		return v.init
	}
	if n := v.producer; n != nil && n.OpType == "Constant" && normalDomain(n.Domain) == "" {
		return n.constant()
	}
	return nil
}

// SetConst gives v the initializer t, or takes it away (nil).
func (v *Value) SetConst(t *tensor.Tensor) {
	switch {
	case v.init == nil && t != nil:
		v.graph.consts = append(v.graph.consts, v)
	case v.init != nil && t == nil:
		v.graph.consts = slices.DeleteFunc(v.graph.consts, func(c *Value) bool { return c == v })
	}
	v.init, v.Origin = t, nil
}

func (v *Value) String() string { return v.name + " " + v.Type.String() }

// dropUse removes one use of v by input i of n.
func (v *Value) dropUse(n *Node, i int) {
	if k := slices.Index(v.uses, Use{n, i}); k >= 0 {
		v.uses = slices.Delete(v.uses, k, k+1)
	}
}

// AddOutput appends v, a value of g or of a graph around it, to g's outputs.
func (g *Graph) AddOutput(v *Value) {
	g.Outputs = append(g.Outputs, v)
	v.outputs++
}

// SetOutput makes v the i-th output of g.
func (g *Graph) SetOutput(i int, v *Value) {
	g.Outputs[i].outputs--
	g.Outputs[i] = v
	v.outputs++
}

// AddInput appends a new value to g's inputs.
func (g *Graph) AddInput(name string, t Type) (*Value, error) {
	v, err := g.NewValue(name, t)
	if err == nil {
		g.Inputs = append(g.Inputs, v)
	}
	return v, err
}

// ReplaceUses makes every node that reads old read new, and every graph that
// gives old out keep its output's name: where old is an output of a graph,
// that is refused, since the output's name would change.
func (g *Graph) ReplaceUses(old, new *Value) error {
	if old.outputs > 0 {
		return fmt.Errorf("value %q is a graph output: its name must stay", old.name)
	}
	for _, u := range slices.Clone(old.uses) {
		u.Node.SetInput(u.Input, new)
	}
	return nil
}

// RemoveValue removes a value that nothing produces, reads or gives out, from
// the initializers and inputs too.
func (g *Graph) RemoveValue(v *Value) error {
	switch {
	case v.graph != g:
		return fmt.Errorf("value %q is not of graph %q", v.name, g.Name)
	case len(v.uses) > 0:
		return fmt.Errorf("value %q is still read by %v", v.name, v.uses[0].Node)
	case v.outputs > 0:
		return fmt.Errorf("value %q is a graph output", v.name)
	case v.producer != nil:
		return fmt.Errorf("value %q is still made by %v", v.name, v.producer)
	}
	v.SetConst(nil)
	g.Inputs = slices.DeleteFunc(g.Inputs, func(i *Value) bool { return i == v })
	delete(g.names, v.name)
	return nil
}
