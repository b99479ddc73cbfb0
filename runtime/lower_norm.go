package runtime

import (
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// norm replaces the layer-norms that exporters write out by the operator, which
// goes over a row once where they make eight tensors of it:
//
//	d = x − mean(x);  d/√(mean(d²) + ε)·scale + bias
//
// over the last axes. The scale and the bias are constants and may be missing.
func (l *lowerer) norm() error {
	for _, n := range l.order {
		if l.gone[n] {
			continue
		}
		if p := l.matchNorm(n); p != nil {
			if err := l.replaceNorm(n, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// A normPattern is a layer-norm without scale and bias.
type normPattern struct {
	x       *graph.Value
	epsilon float32
	axis    int // the first one
	rank    int
}

// matchNorm finds the pattern that ends with n; nil where it does not.
func (l *lowerer) matchNorm(n *graph.Node) *normPattern {
	d, root := l.quotient(n)
	if root == nil {
		return nil
	}
	sum := l.only(root, "Sqrt")
	if sum == nil {
		return nil
	}
	add := l.only(sum.Input(0), "Add")
	if add == nil {
		return nil
	}
	variance, epsilon := add.Input(0), l.scalar(add.Input(1))
	if epsilon == nil {
		variance, epsilon = add.Input(1), l.scalar(add.Input(0))
	}
	if epsilon == nil || variance == nil {
		return nil
	}
	meanOfSquares := l.only(variance, "ReduceMean")
	if meanOfSquares == nil {
		return nil
	}
	square := l.only(meanOfSquares.Input(0), "Pow")
	if square != nil {
		if e := l.scalar(square.Input(1)); e == nil || *e != 2 || square.Input(0) != d {
			return nil
		}
	} else if square = l.only(meanOfSquares.Input(0), "Mul"); square == nil || square.Input(0) != d || square.Input(1) != d {
		return nil
	}
	sub := d.Producer()
	if sub == nil || sub.Graph() != l.g || !l.is(sub, "Sub") || d.IsOutput() || !l.isFloats(sub.Input(0)) {
		return nil
	}
	for _, u := range d.Uses() {
		if u.Node != n && u.Node != square {
			return nil
		}
	}
	mean := l.only(sub.Input(1), "ReduceMean")
	if mean == nil || mean.Input(0) != sub.Input(0) {
		return nil
	}
	p := &normPattern{x: sub.Input(0), epsilon: *epsilon, rank: len(l.facts.Of(sub.Input(0)).Shape)}
	axis, ok := l.lastAxes(mean, p.rank)
	other, same := l.lastAxes(meanOfSquares, p.rank)
	if !ok || !same || axis != other {
		return nil
	}
	p.axis = axis
	return p
}

// quotient is what n divides and by what: a/b, a·(1/b) or a·Reciprocal(b). b is
// nil where n does something else.
func (l *lowerer) quotient(n *graph.Node) (a, b *graph.Value) {
	switch {
	case l.is(n, "Div"):
		return n.Input(0), n.Input(1)
	case l.is(n, "Mul"):
		for i := range 2 {
			if r := l.only(n.Input(i), "Reciprocal"); r != nil {
				return n.Input(1 - i), r.Input(0)
			}
			if r := l.only(n.Input(i), "Div"); r != nil {
				if one := l.scalar(r.Input(0)); one != nil && *one == 1 {
					return n.Input(1 - i), r.Input(1)
				}
			}
		}
	}
	return nil, nil
}

// only is the node that makes v, where it is of the type and v's one reader is
// all that v is for; nil otherwise.
func (l *lowerer) only(v *graph.Value, opType string) *graph.Node {
	if v == nil || v.IsOutput() {
		return nil
	}
	n := v.Producer()
	if n == nil || n.Graph() != l.g || !l.is(n, opType) {
		return nil
	}
	for _, u := range v.Uses() {
		if u.Node != v.Uses()[0].Node {
			return nil
		}
	}
	return n
}

// lastAxes is the first axis of a ReduceMean that goes over all axes from one on
// and keeps them.
func (l *lowerer) lastAxes(n *graph.Node, rank int) (int, bool) {
	axes, ok := l.ints(n, 1, "axes")
	if a := n.Attr("keepdims"); !ok || len(axes) == 0 || len(axes) > rank || a != nil && a.I == 0 {
		return 0, false
	}
	for i, a := range axes {
		if a < 0 {
			axes[i] += rank
		}
	}
	slices.Sort(axes)
	for i, a := range axes {
		if a != rank-len(axes)+i {
			return 0, false
		}
	}
	return axes[0], true
}

// replaceNorm replaces the pattern that ends with n, and the scale and the bias
// behind it.
func (l *lowerer) replaceNorm(n *graph.Node, p *normPattern) error {
	shape := l.facts.Of(p.x).Shape[p.axis:]
	last := n
	scale := l.alongRow(&last, "Mul", shape)
	if scale == nil {
		sizes, known := graph.Ints(shape)
		if !known {
			return nil
		}
		ones := tensor.New(tensor.Float32, sizes...)
		for i := range tensor.Data[float32](ones) {
			tensor.Data[float32](ones)[i] = 1
		}
		scale = l.g.NewConst(n.Label()+"/scale", ones)
	}
	inputs := []*graph.Value{p.x, scale}
	if bias := l.alongRow(&last, "Add", shape); bias != nil {
		inputs = append(inputs, bias)
	}
	made, err := l.replace(last, "LayerNormalization", nil, inputs)
	if err != nil {
		return err
	}
	made.Domain, made.Name = "", n.Label()
	made.Attrs = []*graph.Attr{
		{Name: "axis", Type: graph.AttrInt, I: int64(p.axis)},
		{Name: "epsilon", Type: graph.AttrFloat, F: p.epsilon},
	}
	l.ops[made], err = op.Parse(made, normOpset)
	return err
}

// normOpset is the operator set from which on there is LayerNormalization.
const normOpset = 17

// alongRow is the constant that a node of the type behind *last, its only
// reader, combines with rows of the given shape, and makes that node *last; nil
// where there is none.
func (l *lowerer) alongRow(last **graph.Node, opType string, row []graph.Dim) *graph.Value {
	v := (*last).Outputs()[0]
	if v.IsOutput() || len(v.Uses()) != 1 {
		return nil
	}
	u := v.Uses()[0]
	if u.Node.Graph() != l.g || !l.is(u.Node, opType) {
		return nil
	}
	c := u.Node.Input(1 - u.Input)
	t := l.constant(c)
	if t == nil || t.DType() != tensor.Float32 || t.Rank() > len(row) {
		return nil
	}
	// Whole rows: what is one element for all of them would be a scale too, but
	// not one that the operator takes along.
	for i, d := range t.Shape() {
		if !row[len(row)-t.Rank()+i].Is(d) {
			return nil
		}
	}
	if t.Rank() != len(row) {
		return nil
	}
	*last = u.Node
	return c
}
