package convert

import (
	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
)

// product writes the nodes that multiply one layer's input by factors. Its
// shape is that of the layer's own W, of layer.Out×layer.In.
type product struct {
	*site
	layer   *match.Layer
	shape   factorize.Shape
	terms   int
	aFirst  bool
	a, b    *graph.Value
	samples int // the size of the axis of samples where they are columns; -1 where it is dynamic
}

// oriented is a constant as a layer needs it: transposed by a node where the
// layers of a weight need it both ways.
func (p *product) oriented(role string, c *graph.Value, flip bool) *graph.Value {
	if !flip {
		return c
	}
	return p.transpose(role+"T", c)
}

// lowRank multiplies by two matrices. At rank 2 the second product is a Gemm
// that adds the bias; what is left to add is returned.
func (p *product) lowRank(x *graph.Value, f *factors, addend *graph.Value) (y, rest *graph.Value) {
	l := p.layer
	first, second, flipFirst, flipSecond := f.b, f.a, f.flipB, f.flipA
	if l.Transposed {
		first, second, flipFirst, flipSecond = second, first, !flipSecond, !flipFirst
	}
	first = p.oriented("first", first, flipFirst != l.Columns)
	second = p.oriented("second", second, flipSecond != l.Columns)
	switch {
	case l.Columns:
		return p.matMul("y", second, p.matMul("t", first, x)), addend
	case l.Rank == 2 && addend != nil:
		inputs := []*graph.Value{p.matMul("t", x, first), second, addend}
		var attrs []*graph.Attr
		if l.Beta != 1 {
			attrs = append(attrs, &graph.Attr{Name: "beta", Type: graph.AttrFloat, F: float32(l.Beta)})
		}
		return p.node("Gemm", "y", inputs, attrs...), nil
	}
	return p.matMul("y", p.matMul("t", x, first), second), addend
}

// bilinear multiplies by Σ_r A_r ⊗ B_r in two products, whatever the number of
// terms, with the input read as a matrix of N1×N2 per sample.
func (p *product) bilinear(x *graph.Value) *graph.Value {
	switch {
	case p.layer.Columns:
		return p.columns(x)
	case p.layer.Rank > 2:
		return p.rows(x, make([]int, p.layer.Rank-1)) // 0 keeps a dimension
	case p.layer.Rank == 1:
		return p.vector(x)
	case p.layer.Rank == 2:
		return p.rows(x, []int{-1})
	}
	return p.unranked(x)
}

// rows is for samples in rows, with the leading dimensions of every reshape:
// −1 for all of them as one, or 0 for each.
func (p *product) rows(x *graph.Value, lead []int) *graph.Value {
	x = p.padded(x, len(lead)+1, len(lead))
	return p.cropped(p.reshape("y", p.core(x, lead), join(lead, p.shape.M1*p.shape.M2)...), len(lead))
}

// core is the two products on x of […, N1·N2], giving […, M1, M2], or where
// lead is −1 any shape of the same elements. For one term of the cat form
// below, the reshape in the middle falls away:
//
//	B first: x as [N·n1, n2] → MatMul b → as [N, n1·R, m2] → a from the left
//	A first: x as [N, n1, n2] → a from the left → as [N·m1, R·n2] → MatMul b
func (p *product) core(x *graph.Value, lead []int) *graph.Value {
	s, flat := p.shape, lead[0] == -1
	switch {
	case p.terms == 1 && p.aFirst:
		return p.matMul("ax", p.matMul("t", p.a, p.reshape("x", x, join(lead, s.N1, s.N2)...)), p.b)
	case p.terms == 1:
		return p.matMul("ax", p.a, p.matMul("t", p.reshape("x", x, join(lead, s.N1, s.N2)...), p.b))
	case p.aFirst && flat:
		t := p.matMul("t", p.a, p.reshape("x", x, -1, s.N1, s.N2))
		return p.matMul("ax", p.reshape("tr", t, -1, p.terms*s.N2), p.b)
	case p.aFirst:
		t := p.matMul("t", p.a, p.reshape("x", x, join(lead, s.N1, s.N2)...))
		return p.matMul("ax", p.reshape("tr", t, join(lead, s.M1, p.terms*s.N2)...), p.b)
	case flat:
		t := p.matMul("t", p.reshape("x", x, -1, s.N2), p.b)
		return p.matMul("ax", p.a, p.reshape("tr", t, -1, s.N1*p.terms, s.M2))
	}
	t := p.matMul("t", p.reshape("x", x, join(lead, s.N1, s.N2)...), p.b)
	return p.matMul("ax", p.a, p.reshape("tr", t, join(lead, s.N1*p.terms, s.M2)...))
}

// vector is for an input of rank 1, one sample.
func (p *product) vector(x *graph.Value) *graph.Value {
	y := p.core(p.padded(x, 1, 0), []int{-1})
	return p.cropped(p.reshape("y", y, p.shape.M1*p.shape.M2), 0)
}

// unranked takes the leading dimensions from the input's shape in every run.
func (p *product) unranked(x *graph.Value) *graph.Value {
	s := p.shape
	lead := p.slice("lead", p.node("Shape", "dims", []*graph.Value{x}), 0, 0, -1)
	if s.N1*s.N2 > p.layer.In {
		x = p.padded(p.reshape("rows", x, -1, p.layer.In), 2, 1)
	}
	y := p.core(x, []int{-1})
	if s.M1*s.M2 > p.layer.Out {
		y = p.cropped(p.reshape("rows", y, -1, s.M1*s.M2), 1)
	}
	shape := p.node("Concat", "y.shape", []*graph.Value{lead, p.ints("out", p.layer.Out)},
		&graph.Attr{Name: "axis", Type: graph.AttrInt, I: 0})
	return p.node("Reshape", "y", []*graph.Value{y, shape})
}

// columns is for samples in columns: x is […, In, S], and the factors multiply
// from the left. The axis of the samples is merged with the one before it
// where a product does not touch that.
//
//	B first: x as [n1, n2, S] → b from the left → [n1, R·m2, S] as [n1·R, m2·S] → a from the left
//	A first: x as [n1, n2·S] → a from the left → [m1·R, n2·S] as [m1, R·n2, S] → b from the left
func (p *product) columns(x *graph.Value) *graph.Value {
	s, rank := p.shape, p.layer.Rank
	lead := make([]int, rank-2)
	times := func(n int) int { // n·S
		if p.samples < 0 {
			return -1
		}
		return n * p.samples
	}
	x = p.padded(x, rank, rank-2)
	var y *graph.Value
	if p.aFirst {
		t := p.matMul("t", p.a, p.reshape("x", x, join(lead, s.N1, times(s.N2))...))
		y = p.matMul("ax", p.b, p.reshape("tr", t, join(lead, s.M1, p.terms*s.N2, times(1))...))
	} else {
		t := p.matMul("t", p.b, p.reshape("x", x, join(lead, s.N1, s.N2, times(1))...))
		y = p.matMul("ax", p.a, p.reshape("tr", t, join(lead, s.N1*p.terms, times(s.M2))...))
	}
	return p.cropped(p.reshape("y", y, join(lead, s.M1*s.M2, times(1))...), rank-2)
}

// padded appends zeros to x, of the given rank, up to N1·N2 along axis.
func (p *product) padded(x *graph.Value, rank, axis int) *graph.Value {
	if n := p.shape.N1*p.shape.N2 - p.layer.In; n > 0 {
		return p.pad("pad", x, rank, axis, n)
	}
	return x
}

// cropped cuts y along axis down to the layer's outputs.
func (p *product) cropped(y *graph.Value, axis int) *graph.Value {
	if p.shape.M1*p.shape.M2 > p.layer.Out {
		return p.slice("crop", y, axis, 0, p.layer.Out)
	}
	return y
}

// join is a shape of leading dimensions and others.
func join(lead []int, rest ...int) []int { return append(append([]int{}, lead...), rest...) }
