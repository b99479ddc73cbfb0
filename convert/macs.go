package convert

import (
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// MACs is the number of multiplications that products and convolutions of m
// take per sample. The leading dimension of inputs counts samples; dims gives
// the sizes of other symbolic dimensions. It returns nil where a size is not
// known, or an operator's work depends on data.
func MACs(m *graph.Model, dims map[string]int) *int64 {
	known, samples := perSample(m.Graph, dims)
	facts, err := op.Infer(m, known)
	if err != nil {
		return nil
	}
	n, ok := graphMACs(facts, m.Graph)
	if !ok {
		return nil
	}
	n /= int64(samples)
	return &n
}

// perSample is the facts of the graph's inputs for one sample, or for as many
// as the model's shapes fix.
func perSample(g *graph.Graph, dims map[string]int) (known map[*graph.Value]graph.Fact, samples int) {
	sizes := map[string]int{}
	for name, n := range dims {
		sizes[name] = n
	}
	fixed := map[int]bool{}
	for _, v := range g.Inputs {
		if v.Init() != nil || !v.Type.Ranked || len(v.Type.Shape) == 0 {
			continue
		}
		d := v.Type.Shape[0]
		if n, ok := d.Const(); ok {
			fixed[n] = true
		} else {
			fixed[0] = true
			if _, given := sizes[d.String()]; d.IsKnown() && !given {
				sizes[d.String()] = 1
			}
		}
	}
	samples = 1
	if len(fixed) == 1 {
		for n := range fixed {
			samples = max(n, 1)
		}
	}
	known = map[*graph.Value]graph.Fact{}
	for _, v := range g.Inputs {
		if v.Init() != nil || v.Type.Kind != tensor.KindTensor || !v.Type.Ranked {
			continue
		}
		t := v.Type
		t.Shape = append([]graph.Dim{}, t.Shape...)
		for i, d := range t.Shape {
			if n, ok := d.Eval(sizes); ok {
				t.Shape[i] = graph.Size(n)
			} else if i == 0 && !d.IsKnown() {
				t.Shape[i] = graph.Size(1)
			}
		}
		known[v] = graph.Fact{Type: t}
	}
	return known, samples
}

// graphMACs is the work of one run of g; false where it is not known.
func graphMACs(f *op.Facts, g *graph.Graph) (int64, bool) {
	total := int64(0)
	for _, n := range g.Nodes() {
		work, ok := nodeMACs(f, n)
		if !ok {
			return 0, false
		}
		// A branch of If runs, or the other; how often a body runs is not known.
		most := int64(0)
		for _, s := range n.Subgraphs() {
			inner, ok := graphMACs(f, s)
			if !ok || inner > 0 && n.OpType != "If" {
				return 0, false
			}
			most = max(most, inner)
		}
		total += work + most
	}
	return total, true
}

// nodeMACs is the work of one node, its subgraphs apart.
func nodeMACs(f *op.Facts, n *graph.Node) (int64, bool) {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return 0, true
	}
	in := func(i int) []graph.Dim { return f.Of(n.Input(i)).Shape }
	var factors []graph.Dim
	switch n.OpType {
	case "MatMul", "MatMulInteger", "QLinearMatMul":
		a := in(0)
		if len(a) == 0 {
			return 0, false
		}
		factors = append(outputShape(f, n), a[len(a)-1])
	case "Gemm":
		a := in(0)
		if len(a) != 2 {
			return 0, false
		}
		k := a[1]
		if t := n.Attr("transA"); t != nil && t.I != 0 {
			k = a[0]
		}
		factors = append(outputShape(f, n), k)
	case "Conv", "ConvInteger", "QLinearConv":
		w := in(1)
		if n.OpType == "QLinearConv" {
			w = in(3)
		}
		if len(w) == 0 {
			return 0, false
		}
		factors = append(outputShape(f, n), w[1:]...) // [C/group, k…] per element of the output
	case "ConvTranspose":
		if w := in(1); len(w) > 0 {
			factors = append(append(factors, in(0)...), w[1:]...)
		}
	case "LSTM", "GRU", "RNN":
		x, w, r := in(0), in(1), in(2)
		if len(x) != 3 || len(w) != 3 || len(r) != 3 {
			return 0, false
		}
		steps, okX := graph.Product(x[:2]).Const()
		a, okW := graph.Product(w).Const()
		b, okR := graph.Product(r).Const()
		return int64(steps) * int64(a+b), okX && okW && okR
	case "Einsum":
		return 0, false
	default:
		return 0, true
	}
	if len(factors) == 0 {
		return 0, false
	}
	work, ok := graph.Product(factors).Const()
	return int64(work), ok
}

// outputShape is a copy of the shape of n's first output; nil where that is
// not known.
func outputShape(f *op.Facts, n *graph.Node) []graph.Dim {
	if len(n.Outputs()) == 0 || n.Outputs()[0] == nil {
		return nil
	}
	fact := f.Of(n.Outputs()[0])
	if !fact.Ranked {
		return []graph.Dim{graph.Unknown}
	}
	return append([]graph.Dim{}, fact.Shape...)
}
