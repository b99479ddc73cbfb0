package grad

import (
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A bilinear is the part that a node has in a bilinear layer: all of it for the
// last of the five, nothing for the others.
type bilinear struct {
	op  *op.BilinearStep
	in  []*graph.Value // X, B, A
	out *graph.Value
}

// bilinears finds, in float32, the five nodes of each bilinear layer in the form
// that conversion writes, with B first: Reshape, MatMul by a matrix, Reshape,
// MatMul by a matrix from the left, Reshape. No one else may read what lies
// between them.
func bilinears(nodes []*graph.Node, facts *op.Facts, readers map[*graph.Value]int, fixed []*graph.Value) map[*graph.Node]bilinear {
	layers := map[*graph.Node]bilinear{}
	inner := func(v *graph.Value) *graph.Node { // v's producer, if no one else needs v
		if v == nil || readers[v] != 1 || slices.Contains(fixed, v) {
			return nil
		}
		return v.Producer()
	}
	for _, last := range nodes {
		if !op.IsReshape(facts.Op(last)) {
			continue
		}
		left := inner(last.Input(0))
		if left == nil || !op.IsMatMul(facts.Op(left)) {
			continue
		}
		between := inner(left.Input(1))
		if between == nil || !op.IsReshape(facts.Op(between)) {
			continue
		}
		right := inner(between.Input(0))
		if right == nil || !op.IsMatMul(facts.Op(right)) {
			continue
		}
		first := inner(right.Input(0))
		if first == nil || !op.IsReshape(facts.Op(first)) {
			continue
		}
		l := bilinear{in: []*graph.Value{first.Input(0), right.Input(1), left.Input(0)}, out: last.Outputs()[0]}
		if l.op = bilinearShape(facts, l, first.Outputs()[0], between.Outputs()[0]); l.op == nil {
			continue
		}
		for _, n := range []*graph.Node{first, right, between, left} {
			layers[n] = bilinear{}
		}
		layers[last] = l
	}
	return layers
}

// bilinearShape is the layer's sizes, nil where the shapes are not known to be a
// layer's: X and Y in rows, first and t what the Reshapes in between give.
func bilinearShape(facts *op.Facts, l bilinear, first, t *graph.Value) *op.BilinearStep {
	b, a := matrix(facts.Of(l.in[1])), matrix(facts.Of(l.in[2]))
	x, y := facts.Of(l.in[0]), facts.Of(l.out)
	ts, n2, n, m := lasts(facts.Of(t), 2), lasts(facts.Of(first), 1), lasts(x, 1), lasts(y, 1)
	if b == nil || a == nil || ts == nil || n2 == nil || n == nil || m == nil || x.DType != tensor.Float32 {
		return nil
	}
	k, m2 := ts[0], ts[1]
	if m2 == 0 || b[1]%m2 != 0 || b[0] != n2[0] || a[1] != k {
		return nil
	}
	s := &op.BilinearStep{N2: b[0], M1: a[0], M2: m2, Terms: b[1] / m2}
	if s.Terms == 0 || k%s.Terms != 0 {
		return nil
	}
	s.N1 = k / s.Terms
	if s.N1*s.N2 == 0 || s.N1*s.N2 != n[0] || s.M1*s.M2 != m[0] || s.M1 == 0 || len(x.Shape) != len(y.Shape) {
		return nil
	}
	for i := range len(x.Shape) - 1 {
		if !x.Shape[i].Same(y.Shape[i]) && len(x.Shape) > 2 {
			return nil
		}
	}
	return s
}

// matrix is a known shape of two axes, else nil.
func matrix(f graph.Fact) []int {
	if shape, ok := graph.Ints(f.Shape); ok && f.Ranked && len(shape) == 2 && f.DType == tensor.Float32 {
		return shape
	}
	return nil
}

// lasts is the last n axes, nil where they are not known or have no axis before
// them.
func lasts(f graph.Fact, n int) []int {
	if !f.Ranked || len(f.Shape) <= n {
		return nil
	}
	shape, ok := graph.Ints(f.Shape[len(f.Shape)-n:])
	if !ok {
		return nil
	}
	return shape
}
