package match

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/graph"
)

// tie gathers the layers that read one constant under one Weight, and turns
// those into skips whose constant has to stay in the model: with it factors
// would only be added.
func (s *search) tie() []*Layer {
	byRoot := map[*graph.Value][]*Layer{}
	for _, l := range s.layers {
		byRoot[l.operand.root] = append(byRoot[l.operand.root], l)
	}
	settled := map[*graph.Value]bool{}
	why := map[*graph.Value]string{}
	for _, l := range s.layers {
		root := l.operand.root
		if settled[root] {
			continue
		}
		settled[root] = true
		why[root] = s.group(byRoot[root])
	}
	var out []*Layer
	for _, l := range s.layers {
		if reason := why[l.operand.root]; reason != "" {
			s.skips = append(s.skips, Skip{Name: l.Name, Node: l.Product, Params: l.operand.root.Const().Len(), Reason: reason})
			continue
		}
		out = append(out, l)
	}
	return out
}

// group makes one Weight of the layers of one root, or says why that cannot be.
func (s *search) group(layers []*Layer) string {
	first := layers[0]
	mine := map[*graph.Node]bool{}
	for _, l := range layers {
		mine[l.Product] = true
		for _, n := range l.operand.nodes {
			mine[n] = true
		}
	}
	if why := keptBy(first.operand.root, mine); why != "" {
		return why
	}
	w := &Weight{Root: first.operand.root, Rows: first.Out, Cols: first.In, DType: first.operand.dtype, Layers: layers}
	for _, l := range layers {
		if l.operand.dtype != w.DType {
			return fmt.Sprintf("the weight %q is used as %v and as %v", w.Root.Name(), w.DType, l.operand.dtype)
		}
		if (l.Conv == nil) != (first.Conv == nil) || (l.Index == 0) != (first.Index == 0) {
			return fmt.Sprintf("the weight %q is read by %v and by %v", w.Root.Name(), first.Product, l.Product)
		}
		transposed, ok := related(first, l)
		if !ok {
			return fmt.Sprintf("the weight %q is read in different forms by %v and %v", w.Root.Name(), first.Product, l.Product)
		}
		l.Weight, l.Transposed = w, transposed
	}
	// Constants that nothing but these layers reads go with them.
	seen := map[*graph.Value]bool{}
	for _, l := range layers {
		for _, v := range append([]*graph.Value{l.operand.root}, l.operand.others...) {
			if !seen[v] && keptBy(v, mine) == "" {
				w.goes = append(w.goes, v)
			}
			seen[v] = true
		}
	}
	return ""
}

// keptBy says what keeps a constant in the model when the nodes mine go; ""
// where nothing does.
func keptBy(v *graph.Value, mine map[*graph.Node]bool) string {
	if v.IsOutput() {
		return fmt.Sprintf("the weight %q is an output of the graph", v.Name())
	}
	for _, u := range v.Uses() {
		if !mine[u.Node] {
			return fmt.Sprintf("the weight %q is also read by %v", v.Name(), u.Node)
		}
		switch u.Node.OpType {
		case "Gemm", "MatMul", "Conv":
			if u.Input == 2 {
				return fmt.Sprintf("the weight %q is also added by %v", v.Name(), u.Node)
			}
			continue // its output is the layer's
		case "Gather":
			if u.Input == 0 {
				continue
			}
		}
		for _, out := range u.Node.Outputs() {
			if out == nil {
				continue
			}
			if why := keptBy(out, mine); why != "" {
				return why
			}
		}
	}
	return ""
}

// related reports whether two layers of one root have the same W, or the one
// the transpose of the other's. Unlike steps may still give the same matrix:
// the numbers decide then.
func related(a, b *Layer) (transposed, ok bool) {
	if a.alpha != b.alpha {
		return false, false
	}
	if a.operand.same(b.operand) && a.operand.rows == b.operand.rows {
		return a.flip != b.flip, a.flip == b.flip || a.Index == 0
	}
	wa, err := a.dense()
	if err != nil {
		return false, false
	}
	wb, err := b.dense()
	if err != nil {
		return false, false
	}
	if a.In == b.In && a.Out == b.Out && mat.Equal(wa, wb) && (a.Conv == nil || slices.Equal(a.Conv.Kernel, b.Conv.Kernel)) {
		return false, true
	}
	if a.Conv != nil || a.Index != 0 {
		return false, false
	}
	return true, a.In == b.Out && a.Out == b.In && mat.Equal(wa.T(), wb)
}
