package runtime

import (
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// bilinear replaces the two products that a sum of Kronecker products is
// written out as, with the reshapes between them:
//
//	B first: x as […, n2] → MatMul Bcat[n2 R·m2] → as […, n1·R, m2] → Acat[m1 n1·R] from the left → as […, m1·m2]
//	A first: x as […, n1, n2] → A'[m1·R n1] from the left → as […, R·n2] → MatMul B'[R·n2 m2] → as […, m1·m2]
//
// A reshape that changes nothing may be left out. Since all tensors are
// contiguous, a sample is n1·n2 elements one after the other whatever the
// shapes between are; only the first and the last decide which it is.
func (l *lowerer) bilinear() error {
	shared := map[[2]*tensor.Tensor]*kronecker{}
	for _, n := range l.order {
		if l.gone[n] || !l.is(n, "Reshape") || !l.isFloats(n.Outputs()[0]) {
			continue
		}
		x, w := l.matchBilinear(n)
		if w == nil {
			continue
		}
		// Layers with tied weights share the packed factors.
		key := [2]*tensor.Tensor{w.a, w.b}
		if s := shared[key]; s != nil && s.dims == w.dims {
			w = s
		} else {
			shared[key] = w
		}
		if _, err := l.replace(n, "Bilinear", &bilinear{w: w, end: noEnding}, []*graph.Value{x}); err != nil {
			return err
		}
	}
	return nil
}

// matchBilinear is the input and the factors of the pattern that ends with the
// reshape n; nil where there is none.
func (l *lowerer) matchBilinear(n *graph.Node) (x *graph.Value, w *kronecker) {
	second := l.behind(n.Input(0), "MatMul")
	if second == nil {
		return nil, nil
	}
	d := dims{}
	if a, ok := l.matrix(second.Input(0)); ok {
		t := l.unshaped(second.Input(1))
		first := l.behind(t, "MatMul")
		if first == nil {
			return nil, nil
		}
		b, ok := l.matrix(first.Input(1))
		m2 := lastDim(l.facts.Of(second.Input(1)))
		if !ok || m2 < 1 || b.cols%m2 != 0 || a.cols%(b.cols/m2) != 0 {
			return nil, nil
		}
		d.terms = b.cols / m2
		d.n1, d.n2, d.m1, d.m2 = a.cols/d.terms, b.rows, a.rows, m2
		d.a, d.b = factor{a.cs, a.rs, d.terms * a.cs}, factor{m2 * b.cs, b.cs, b.rs}
		x, w = l.unshaped(first.Input(0)), &kronecker{dims: d, a: a.t, b: b.t}
	} else if b, ok := l.matrix(second.Input(1)); ok {
		t := l.unshaped(second.Input(0))
		first := l.behind(t, "MatMul")
		if first == nil {
			return nil, nil
		}
		a, ok := l.matrix(first.Input(0))
		n2 := lastDim(l.facts.Of(first.Input(1)))
		if !ok || n2 < 1 || b.rows%n2 != 0 || a.rows%(b.rows/n2) != 0 {
			return nil, nil
		}
		d.terms = b.rows / n2
		d.n1, d.n2, d.m1, d.m2 = a.cols, n2, a.rows/d.terms, b.cols
		d.a, d.b = factor{a.rs, d.terms * a.rs, a.cs}, factor{n2 * b.rs, b.cs, b.rs}
		x, w = l.unshaped(first.Input(1)), &kronecker{dims: d, a: a.t, b: b.t}
	} else {
		return nil, nil
	}
	// The first and the last shape: rows of a sample's inputs and outputs.
	in, out := l.facts.Of(x), l.facts.Of(n.Outputs()[0])
	if !l.isFloats(x) || lastDim(in) != d.n1*d.n2 || lastDim(out) != d.m1*d.m2 ||
		!sameDims(in.Shape[:len(in.Shape)-1], out.Shape[:len(out.Shape)-1]) || !l.betweenIs(second, d) {
		return nil, nil
	}
	return x, w
}

// betweenIs reports whether the second product works on matrices of the
// dimensions that d says: a product of vectors or of broadcast matrices is
// something else.
func (l *lowerer) betweenIs(second *graph.Node, d dims) bool {
	y := l.facts.Of(second.Outputs()[0])
	k := len(y.Shape)
	if !y.Ranked || k < 2 || !y.Shape[k-1].Is(d.m2) {
		return false
	}
	if _, left := l.matrix(second.Input(0)); left {
		in := l.facts.Of(second.Input(1))
		return y.Shape[k-2].Is(d.m1) && in.Ranked && len(in.Shape) == k && in.Shape[k-2].Is(d.n1*d.terms)
	}
	first := l.behind(l.unshaped(second.Input(0)), "MatMul")
	in := l.facts.Of(first.Input(1))
	t := l.facts.Of(second.Input(0))
	return in.Ranked && len(in.Shape) >= 2 && in.Shape[len(in.Shape)-2].Is(d.n1) &&
		t.Ranked && t.Shape[len(t.Shape)-1].Is(d.terms*d.n2)
}

// behind is the node of the given operator that makes v for one reader alone;
// nil where something else does.
func (l *lowerer) behind(v *graph.Value, opType string) *graph.Node {
	if v == nil || v.IsOutput() || len(v.Uses()) != 1 || v.Producer() == nil || v.Producer().Graph() != l.g || !l.is(v.Producer(), opType) {
		return nil
	}
	return v.Producer()
}

// unshaped is v, or what it is a reshaped form of for one reader alone.
func (l *lowerer) unshaped(v *graph.Value) *graph.Value {
	if n := l.behind(v, "Reshape"); n != nil {
		return n.Input(0)
	}
	return v
}

// A matrix is a constant of rank 2: element (i, j) is at i·rs + j·cs.
type matrix struct {
	t                  *tensor.Tensor
	rows, cols, rs, cs int
}

// matrix is the float32 matrix that v is in every run, perhaps a transposed one.
func (l *lowerer) matrix(v *graph.Value) (matrix, bool) {
	if v == nil {
		return matrix{}, false
	}
	t, turns := l.constant(v), false
	if p := v.Producer(); t == nil && p != nil && l.is(p, "Transpose") && turned(p) {
		t, turns = l.constant(p.Input(0)), true
	}
	if t == nil || t.DType() != tensor.Float32 || t.Rank() != 2 || t.Len() == 0 {
		return matrix{}, false
	}
	s := t.Shape()
	if turns {
		return matrix{t, s[1], s[0], 1, s[1]}, true
	}
	return matrix{t, s[0], s[1], s[1], 1}, true
}

// lastDim is the last dimension where it is a number; −1 where it is not.
func lastDim(f graph.Fact) int {
	if !f.Ranked || len(f.Shape) == 0 {
		return -1
	}
	n, ok := f.Shape[len(f.Shape)-1].Const()
	if !ok {
		return -1
	}
	return n
}
