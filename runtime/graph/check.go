package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Check verifies what every edit must keep: that each value that is read or
// given out is defined where the reader can see it, that uses and producers
// are true, and that no node depends on its own output. It is run after a
// model is read and after each rewrite. The error names the first offender.
func (m *Model) Check() error {
	if m == nil || m.Graph == nil {
		return fmt.Errorf("the model has no graph")
	}
	if err := m.Graph.check(); err != nil {
		return err
	}
	for _, f := range m.Functions {
		if err := f.Graph.check(); err != nil {
			return fmt.Errorf("function %s.%s: %w", f.Domain, f.Name, err)
		}
	}
	return nil
}

func (g *Graph) check() error {
	listed := make(map[*Node]bool, len(g.nodes))
	for _, n := range g.nodes {
		if listed[n] {
			return fmt.Errorf("%v is listed twice", n)
		}
		listed[n] = true
	}
	for _, n := range g.nodes {
		for i, v := range n.inputs {
			if v == nil {
				continue
			}
			if err := g.checkVisible(v); err != nil {
				return fmt.Errorf("%v: input %d: %w", n, i, err)
			}
			if !slices.Contains(v.uses, Use{n, i}) {
				return fmt.Errorf("%v: input %d: value %q does not know of this use", n, i, v.name)
			}
		}
		for i, v := range n.outputs {
			if v != nil && (v.producer != n || v.graph != g || g.names[v.name] != v) {
				return fmt.Errorf("%v: output %d: value %q is not its own", n, i, v.name)
			}
		}
		for _, s := range n.Subgraphs() {
			if s.outer != g {
				return fmt.Errorf("%v: subgraph %q hangs in another graph", n, s.Name)
			}
			if err := s.check(); err != nil {
				return fmt.Errorf("%v: subgraph %q: %w", n, s.Name, err)
			}
		}
	}
	for _, v := range g.Outputs {
		if err := g.checkVisible(v); err != nil {
			return fmt.Errorf("graph output: %w", err)
		}
	}
	_, err := g.Sorted()
	return err
}

// checkVisible fails where v has no definition that nodes of g can see.
func (g *Graph) checkVisible(v *Value) error {
	for s := g; s != nil; s = s.outer {
		if s != v.graph {
			continue
		}
		if v.producer == nil && v.init == nil && !v.IsInput() {
			return fmt.Errorf("value %q is defined nowhere", v.name)
		}
		if v.producer != nil && !slices.Contains(v.producer.outputs, v) {
			return fmt.Errorf("value %q is no output of %v", v.name, v.producer)
		}
		return nil
	}
	return fmt.Errorf("value %q is of a graph that cannot be seen from here", v.name)
}

// Captures is the values of n's graph, and of the graphs around it, that n's
// subgraphs read or give out: its inputs beside the listed ones. Each is
// given once, in the order of first reading.
func (n *Node) Captures() []*Value {
	var out []*Value
	seen := map[*Value]bool{}
	var visit func(g *Graph, inside []*Graph)
	visit = func(g *Graph, inside []*Graph) {
		inside = append(inside, g)
		note := func(v *Value) {
			if v != nil && !seen[v] && !slices.Contains(inside, v.graph) {
				seen[v] = true
				out = append(out, v)
			}
		}
		for _, k := range g.nodes {
			for _, v := range k.inputs {
				note(v)
			}
			for _, s := range k.Subgraphs() {
				visit(s, inside)
			}
		}
		for _, v := range g.Outputs {
			note(v)
		}
	}
	for _, s := range n.Subgraphs() {
		visit(s, nil)
	}
	return out
}

// Sorted is g's nodes in an order in which each comes after the nodes whose
// outputs it reads; the file's order where that is one. It fails where nodes
// depend on each other in a cycle, naming them.
func (g *Graph) Sorted() ([]*Node, error) {
	order := make([]*Node, 0, len(g.nodes))
	const visiting, done = 1, 2
	state := make(map[*Node]int, len(g.nodes))
	// An explicit stack: a chain of a million nodes must not exhaust ours.
	type frame struct {
		n    *Node
		deps []*Value
	}
	deps := func(n *Node) []*Value {
		if len(n.Subgraphs()) == 0 {
			return n.inputs
		}
		return append(slices.Clone(n.inputs), n.Captures()...)
	}
	var stack []frame
	for _, root := range g.nodes {
		if state[root] == done {
			continue
		}
		state[root] = visiting
		stack = append(stack, frame{root, deps(root)})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.deps) == 0 {
				state[top.n] = done
				order = append(order, top.n)
				stack = stack[:len(stack)-1]
				continue
			}
			v := top.deps[0]
			top.deps = top.deps[1:]
			if v == nil || v.producer == nil || v.graph != g {
				continue
			}
			p := v.producer
			switch state[p] {
			case visiting:
				var names []string
				for i := range stack {
					if stack[i].n == p || len(names) > 0 {
						names = append(names, stack[i].n.String())
					}
				}
				return nil, fmt.Errorf("the graph has a cycle through %s", strings.Join(names, ", "))
			case done:
			default:
				state[p] = visiting
				stack = append(stack, frame{p, deps(p)})
			}
		}
	}
	return order, nil
}
