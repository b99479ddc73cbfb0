package graph

import "slices"

// Clone is a copy of m that can be edited without changing m. Tensors and
// origins, which no one changes in place, are shared.
func (m *Model) Clone() *Model {
	c := *m
	c.Opsets = slices.Clone(m.Opsets)
	c.Metadata = slices.Clone(m.Metadata)
	values := map[*Value]*Value{}
	c.Graph = m.Graph.clone(nil, values)
	c.Functions = make([]*Function, len(m.Functions))
	for i, f := range m.Functions {
		k := *f
		k.Graph = f.Graph.clone(nil, values)
		k.Attrs = slices.Clone(f.Attrs)
		k.Defaults = cloneAttrs(f.Defaults, k.Graph, values)
		c.Functions[i] = &k
	}
	return &c
}

// clone copies g; values maps originals to copies, those of the graphs around
// g already among them.
func (g *Graph) clone(outer *Graph, values map[*Value]*Value) *Graph {
	c := &Graph{Name: g.Name, Doc: g.Doc, Origin: g.Origin, outer: outer, serial: g.serial,
		names: make(map[string]*Value, len(g.names))}
	for name, v := range g.names {
		k := &Value{Type: v.Type, Origin: v.Origin, name: name, graph: c, init: v.init}
		values[v] = k
		c.names[name] = k
	}
	mapped := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			if v != nil {
				out[i] = values[v]
			}
		}
		return out
	}
	c.Inputs, c.consts = mapped(g.Inputs), mapped(g.consts)
	for _, n := range g.nodes {
		k := &Node{Domain: n.Domain, OpType: n.OpType, Overload: n.Overload, Name: n.Name, Doc: n.Doc,
			Origin: n.Origin, graph: c, inputs: mapped(n.inputs), outputs: mapped(n.outputs)}
		for i, v := range k.inputs {
			if v != nil {
				v.uses = append(v.uses, Use{k, i})
			}
		}
		for _, v := range k.outputs {
			if v != nil {
				v.producer = k
			}
		}
		c.nodes = append(c.nodes, k)
	}
	// Subgraphs come last: they may read any value of g.
	for i, n := range g.nodes {
		c.nodes[i].Attrs = cloneAttrs(n.Attrs, c, values)
	}
	for _, v := range mapped(g.Outputs) {
		c.AddOutput(v)
	}
	return c
}

// cloneAttrs copies attributes, their graphs as subgraphs of outer.
func cloneAttrs(attrs []*Attr, outer *Graph, values map[*Value]*Value) []*Attr {
	var out []*Attr
	for _, a := range attrs {
		b := *a
		if a.G != nil {
			b.G = a.G.clone(outer, values)
		}
		if a.Graphs != nil {
			b.Graphs = make([]*Graph, len(a.Graphs))
			for j, s := range a.Graphs {
				b.Graphs[j] = s.clone(outer, values)
			}
		}
		out = append(out, &b)
	}
	return out
}
