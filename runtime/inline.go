package runtime

import (
	"errors"
	"fmt"

	"bilinc/runtime/graph"
)

// maxInlined bounds the nodes that functions expand to: a few functions that
// call each other twice would make more than any memory holds.
const maxInlined = 1 << 16

// An inliner replaces nodes that call a function of the model by its body.
type inliner struct {
	model *graph.Model
	find  map[[3]string]*graph.Function
	// chain is, for a node that came out of a function, the functions around it.
	chain map[*graph.Node][]*graph.Function
	made  int
}

// inlineFunctions replaces all calls of m's functions, in subgraphs too, and
// drops the functions. A function's body sees the operator sets of the model,
// which the ONNX specification asks to agree with the function's own; those
// that only the function imports are added.
func inlineFunctions(m *graph.Model) error {
	if len(m.Functions) == 0 {
		return nil
	}
	in := &inliner{model: m, find: map[[3]string]*graph.Function{}, chain: map[*graph.Node][]*graph.Function{}}
	for _, f := range m.Functions {
		in.find[[3]string{domainOf(f.Domain), f.Name, f.Overload}] = f
		for _, o := range f.Opsets {
			if m.Opset(o.Domain) == 0 {
				m.Opsets = append(m.Opsets, o)
			}
		}
	}
	if err := in.graph(m.Graph); err != nil {
		return err
	}
	m.Functions = nil
	return nil
}

func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// graph expands the calls in g until there are none.
func (in *inliner) graph(g *graph.Graph) error {
	work := append([]*graph.Node(nil), g.Nodes()...)
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		f := in.find[[3]string{domainOf(n.Domain), n.OpType, n.Overload}]
		if f == nil {
			for _, s := range n.Subgraphs() {
				if err := in.graph(s); err != nil {
					return err
				}
			}
			continue
		}
		made, err := in.expand(n, f)
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		work = append(work, made...)
	}
	return nil
}

// expand replaces the call n by copies of f's nodes.
func (in *inliner) expand(n *graph.Node, f *graph.Function) ([]*graph.Node, error) {
	chain := in.chain[n]
	for _, outer := range chain {
		if outer == f {
			return nil, fmt.Errorf("the function calls itself")
		}
	}
	chain = append(chain[:len(chain):len(chain)], f)
	if in.made += len(f.Graph.Nodes()); in.made > maxInlined {
		return nil, fmt.Errorf("the functions of the model expand to more than %d nodes", maxInlined)
	}
	if len(n.Inputs()) > len(f.Graph.Inputs) || len(n.Outputs()) > len(f.Graph.Outputs) {
		return nil, fmt.Errorf("found %d inputs and %d outputs, the function has %d and %d",
			len(n.Inputs()), len(n.Outputs()), len(f.Graph.Inputs), len(f.Graph.Outputs))
	}
	g := n.Graph()
	c := &copier{in: in, call: n, f: f, chain: chain, prefix: n.Label() + "/",
		values: map[*graph.Value]*graph.Value{}, taken: map[*graph.Value]int{}}
	for i, v := range f.Graph.Inputs {
		c.values[v] = n.Input(i)
	}
	for _, v := range f.Graph.Consts() {
		c.values[v] = g.NewConst(c.prefix+v.Name(), v.Init())
	}
	// The call's own values take the place of those that the body gives out.
	for i, v := range n.Outputs() {
		of := f.Graph.Outputs[i]
		if _, twice := c.taken[of]; v != nil && !twice && of.Producer() != nil {
			c.taken[of], c.values[of] = i, v
		}
	}
	made, err := c.nodes(f.Graph, g)
	if err != nil {
		return nil, err
	}
	for i, v := range n.Outputs() {
		if v == nil {
			continue // left out, or taken
		}
		// An input of the function, or a value that it gives out twice.
		id, err := g.NewNode("", "Identity", "", []*graph.Value{c.values[f.Graph.Outputs[i]]}, []*graph.Value{nil})
		if err != nil {
			return nil, err
		}
		if err := id.TakeOutput(0, n, i); err != nil {
			return nil, err
		}
		g.Append(id)
	}
	return made, g.Remove(n)
}

// A copier copies the body of a function to where it is called.
type copier struct {
	in     *inliner
	call   *graph.Node
	f      *graph.Function
	chain  []*graph.Function
	prefix string
	values map[*graph.Value]*graph.Value // from the function's to the copy's
	taken  map[*graph.Value]int          // which output of the call a value becomes
}

// nodes copies the nodes of src to the end of dst.
func (c *copier) nodes(src, dst *graph.Graph) ([]*graph.Node, error) {
	for _, k := range src.Nodes() {
		for _, v := range k.Outputs() {
			if _, taken := c.taken[v]; v == nil || taken {
				continue
			}
			w, err := dst.NewValue(dst.FreshName(c.prefix+v.Name()), v.Type)
			if err != nil {
				return nil, err
			}
			c.values[v] = w
		}
	}
	var made []*graph.Node
	for _, k := range src.Nodes() {
		inputs, err := c.mapped(k.Inputs())
		if err != nil {
			return nil, err
		}
		outputs, err := c.mapped(k.Outputs())
		if err != nil {
			return nil, err
		}
		for i, v := range k.Outputs() {
			if _, taken := c.taken[v]; taken {
				outputs[i] = nil
			}
		}
		attrs, err := c.attrs(k, dst)
		if err != nil {
			return nil, err
		}
		n, err := dst.NewNode(k.Domain, k.OpType, c.prefix+k.Label(), inputs, outputs, attrs...)
		if err != nil {
			return nil, err
		}
		n.Overload = k.Overload
		for i, v := range k.Outputs() {
			if at, taken := c.taken[v]; taken {
				if err := n.TakeOutput(i, c.call, at); err != nil {
					return nil, err
				}
			}
		}
		c.in.chain[n] = c.chain
		dst.Append(n)
		made = append(made, n)
	}
	return made, nil
}

func (c *copier) mapped(vs []*graph.Value) ([]*graph.Value, error) {
	out := make([]*graph.Value, len(vs))
	for i, v := range vs {
		if v == nil {
			continue
		}
		w, ok := c.values[v]
		if !ok {
			return nil, fmt.Errorf("value %q is defined nowhere in the function", v.Name())
		}
		out[i] = w // nil where the call leaves the input out
	}
	return out, nil
}

// attrs copies the attributes of k, those that refer to the function's own
// resolved by the call's, or by their defaults; where neither says anything,
// the attribute is left out.
func (c *copier) attrs(k *graph.Node, dst *graph.Graph) ([]*graph.Attr, error) {
	var out []*graph.Attr
	for _, a := range k.Attrs {
		b := *a
		if a.Ref != "" {
			from := c.call.Attr(a.Ref)
			for _, d := range c.f.Defaults {
				if from == nil && d.Name == a.Ref {
					from = d
				}
			}
			if from == nil {
				continue
			}
			if len(from.Subgraphs()) > 0 {
				return nil, errors.New("an attribute that is a graph cannot be passed to a function")
			}
			b = *from
			b.Name = a.Name
			out = append(out, &b)
			continue
		}
		var err error
		if a.G != nil {
			if b.G, err = c.subgraph(a.G, dst); err != nil {
				return nil, err
			}
		}
		b.Graphs = nil
		for _, s := range a.Graphs {
			t, err := c.subgraph(s, dst)
			if err != nil {
				return nil, err
			}
			b.Graphs = append(b.Graphs, t)
		}
		out = append(out, &b)
	}
	return out, nil
}

// subgraph copies a subgraph of the function's body.
func (c *copier) subgraph(src, outer *graph.Graph) (*graph.Graph, error) {
	g := graph.New(src.Name, outer)
	for _, v := range src.Inputs {
		w, err := g.AddInput(g.FreshName(c.prefix+v.Name()), v.Type)
		if err != nil {
			return nil, err
		}
		c.values[v] = w
	}
	for _, v := range src.Consts() {
		w := c.values[v]
		if w == nil {
			w = g.NewConst(c.prefix+v.Name(), v.Init())
			c.values[v] = w
		}
		w.SetConst(v.Init())
	}
	if _, err := c.nodes(src, g); err != nil {
		return nil, err
	}
	outputs, err := c.mapped(src.Outputs)
	if err != nil {
		return nil, err
	}
	for _, v := range outputs {
		if v == nil {
			return nil, fmt.Errorf("an output of subgraph %q is an input that the call leaves out", src.Name)
		}
		g.AddOutput(v)
	}
	return g, nil
}
