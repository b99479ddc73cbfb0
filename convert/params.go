package convert

import (
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// eachGraph calls f for the main graph, the bodies of functions, and all
// their subgraphs.
func eachGraph(m *graph.Model, f func(*graph.Graph)) {
	var visit func(g *graph.Graph)
	visit = func(g *graph.Graph) {
		f(g)
		for _, n := range g.Nodes() {
			for _, s := range n.Subgraphs() {
				visit(s)
			}
		}
	}
	visit(m.Graph)
	for _, fn := range m.Functions {
		visit(fn.Graph)
	}
}

// Params is the number of elements of m's floating-point and quantised
// constants, initializers and Constant nodes alike, subgraphs included.
// Integers of more than 8 bits are shapes and indices and do not count.
func Params(m *graph.Model) int64 {
	n := int64(0)
	count := func(t *tensor.Tensor) {
		if t != nil && (t.DType().IsFloat() || t.DType().IsQuantized()) {
			n += int64(t.Len())
		}
	}
	eachGraph(m, func(g *graph.Graph) {
		for _, v := range g.Consts() {
			count(v.Init())
		}
		for _, node := range g.Nodes() {
			if len(node.Outputs()) == 1 && node.Outputs()[0] != nil {
				if v := node.Outputs()[0]; v.Init() == nil {
					count(v.Const())
				}
			}
		}
	})
	return n
}
