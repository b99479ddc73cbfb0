package runtime

import (
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// attention replaces
//
//	MatMul(Softmax(MatMul(q, kᵀ)·scale + mask), v)
//
// with the scale on either side, on q or k or left out, the mask perhaps left
// out, and a Transpose behind it. What stands before q, k and v is read as a
// view: Transpose, Slice, Split, Gather of one index, Squeeze, and Reshape of
// the last axis into several.
func (l *lowerer) attention() error {
	for _, n := range l.order {
		if l.gone[n] || !l.is(n, "MatMul") || !l.isFloats(n.Outputs()[0]) {
			continue
		}
		o, inputs := l.matchAttention(n)
		if o == nil {
			continue
		}
		last := n
		if v := n.Outputs()[0]; !v.IsOutput() && len(v.Uses()) == 1 && v.Uses()[0].Node.Graph() == l.g && l.is(v.Uses()[0].Node, "Transpose") {
			u := v.Uses()[0].Node
			if perm := permOf(u, len(l.facts.Of(v).Shape)); perm[len(perm)-1] == len(perm)-1 {
				last, o.perm = u, perm
			}
		}
		if _, err := l.replace(last, "Attention", o, inputs); err != nil {
			return err
		}
	}
	return nil
}

func (l *lowerer) matchAttention(n *graph.Node) (*attention, []*graph.Value) {
	rank := len(l.facts.Of(n.Outputs()[0]).Shape)
	softmax := l.behind(n.Input(0), "Softmax")
	if softmax == nil || rank < 2 || rank > maxAxes {
		return nil, nil
	}
	if a := softmax.Attr("axis"); a != nil && a.I != -1 && int(a.I) != rank-1 || a == nil && l.model.Opset("") < 13 {
		return nil, nil
	}
	o := &attention{scale: 1}
	scores := softmax.Input(0)
	var mask *graph.Value
	if add := l.behind(scores, "Add"); add != nil {
		for i := range 2 {
			if s := add.Input(i); l.scaled(s, &o.scale) != nil && l.behind(l.scaled(s, new(float32)), "MatMul") != nil {
				scores, mask = s, add.Input(1-i)
				o.scale = 1
				break
			}
		}
		if mask == nil || !l.fitsMask(mask, l.facts.Of(scores).Shape) {
			return nil, nil
		}
	}
	scores = l.scaled(scores, &o.scale)
	product := l.behind(scores, "MatMul")
	if product == nil || len(l.facts.Of(scores).Shape) != rank {
		return nil, nil
	}
	q, k, v := l.trace(product.Input(0), &o.scale), l.trace(product.Input(1), &o.scale), l.trace(n.Input(1), nil)
	for _, t := range []traced{q, k, v} {
		if t.v == nil || !l.isFloats(t.v) || t.rank != rank || len(l.facts.Of(t.v).Shape) > maxAxes {
			return nil, nil
		}
	}
	// The leading axes are the same: broadcast ones are left alone.
	for i := range rank - 2 {
		d := l.facts.Of(product.Input(0)).Shape[i]
		if !d.Same(l.facts.Of(product.Input(1)).Shape[i]) || !d.Same(l.facts.Of(n.Input(1)).Shape[i]) {
			return nil, nil
		}
	}
	// Keys are read by rows.
	swap := make([]int, rank)
	for i := range swap {
		swap[i] = i
	}
	swap[rank-1], swap[rank-2] = rank-2, rank-1
	o.q, o.k, o.v = q.steps, append(k.steps, viewStep{perm: swap}), v.steps
	inputs := []*graph.Value{q.v, k.v, v.v}
	if mask != nil {
		inputs = append(inputs, mask)
	}
	return o, inputs
}

// fitsMask is maskStrides for dimensions, some perhaps symbolic.
func (l *lowerer) fitsMask(v *graph.Value, scores []graph.Dim) bool {
	f := l.facts.Of(v)
	if !l.isFloats(v) || len(f.Shape) < 2 || len(f.Shape) > len(scores) {
		return false
	}
	for i, d := range f.Shape {
		if s := scores[len(scores)-len(f.Shape)+i]; !d.Same(s) && (!d.Is(1) || i == len(f.Shape)-1) {
			return false
		}
	}
	return true
}

// scaled is v, or what it is times a constant for one reader alone; the
// constant goes into scale.
func (l *lowerer) scaled(v *graph.Value, scale *float32) *graph.Value {
	for _, name := range []string{"Mul", "Div"} {
		n := l.behind(v, name)
		if n == nil {
			continue
		}
		for i := range 2 {
			c := l.scalar(n.Input(1 - i))
			if c == nil || name == "Div" && i == 1 || len(l.facts.Of(n.Input(i)).Shape) != len(l.facts.Of(v).Shape) {
				continue
			}
			if name == "Div" {
				*scale /= *c
			} else {
				*scale *= *c
			}
			return n.Input(i)
		}
	}
	return v
}

// A traced value is what a view is of, and the steps that lead to it.
type traced struct {
	v     *graph.Value
	steps []viewStep
	rank  int // of the view
}

// trace goes back from v over nodes that only move elements. Where scale is
// given, products with constants go into it.
func (l *lowerer) trace(v *graph.Value, scale *float32) traced {
	t := traced{rank: len(l.facts.Of(v).Shape)}
	for {
		if scale != nil {
			v = l.scaled(v, scale)
		}
		n := v.Producer()
		if n == nil || n.Graph() != l.g || v.IsOutput() || !l.plain(n) || l.isConstant(n) || n.Input(0) == nil || !l.facts.Of(n.Input(0)).Ranked {
			break
		}
		steps := l.viewSteps(n, v)
		if steps == nil {
			break
		}
		t.steps = append(steps, t.steps...)
		v = n.Input(0)
	}
	t.v = v
	return t
}

// viewSteps is what n does to its first input to make v; nil where that is no
// view.
func (l *lowerer) viewSteps(n *graph.Node, v *graph.Value) []viewStep {
	in, out := l.facts.Of(n.Input(0)).Shape, l.facts.Of(v).Shape
	switch n.OpType {
	case "Transpose":
		return []viewStep{{perm: permOf(n, len(in))}}
	case "Reshape":
		last := len(in) - 1
		if last < 0 || len(out) <= last || !sameDims(in[:last], out[:last]) {
			return nil
		}
		split, ok := graph.Ints(out[last:])
		if n, known := in[last].Const(); !ok || !known || len(split) == 0 || n != product(split) {
			return nil
		}
		return []viewStep{{split: split}}
	case "Squeeze":
		return squeezeSteps(in, out)
	case "Gather":
		index := l.constant(n.Input(1))
		if index == nil || index.Rank() != 0 || len(in) == 0 {
			return nil
		}
		at, err := tensor.Int64s(index)
		axis := 0
		if a := n.Attr("axis"); a != nil {
			axis = int(a.I)
		}
		if axis < 0 {
			axis += len(in)
		}
		size, ok := in[axis].Const()
		if err != nil || !ok {
			return nil
		}
		start := int(at[0])
		if start < 0 {
			start += size
		}
		return []viewStep{{slice: true, axis: axis, start: start, size: 1}, {drop: true, axis: axis}}
	case "Slice", "Split":
		return l.sliceSteps(n, v, in, out)
	}
	return nil
}

func product(v []int) int {
	n := 1
	for _, d := range v {
		n *= d
	}
	return n
}

// squeezeSteps drops the axes of one element that out has not; nil where it is
// not plain which these are.
func squeezeSteps(in, out []graph.Dim) []viewStep {
	var steps []viewStep
	k := 0
	for i, d := range in {
		if k < len(out) && d.Same(out[k]) && !d.Is(1) {
			k++
			continue
		}
		if !d.Is(1) {
			return nil
		}
		steps = append(steps, viewStep{drop: true, axis: i - len(steps)})
	}
	if k != len(out) || steps == nil {
		return nil
	}
	return steps
}

// sliceSteps is a Slice along one axis of known size with step 1, or an output
// of Split.
func (l *lowerer) sliceSteps(n *graph.Node, v *graph.Value, in, out []graph.Dim) []viewStep {
	if len(in) != len(out) {
		return nil
	}
	axis := -1
	for i, d := range in {
		if !d.Same(out[i]) {
			if axis >= 0 {
				return nil
			}
			axis = i
		}
	}
	if axis < 0 {
		return nil
	}
	whole, known := in[axis].Const()
	size, known2 := out[axis].Const()
	if !known || !known2 {
		return nil
	}
	start := 0
	if n.OpType == "Split" {
		for _, o := range n.Outputs()[:slices.Index(n.Outputs(), v)] {
			if o == nil {
				return nil
			}
			s := l.facts.Of(o).Shape
			k, ok := s[axis].Const()
			if !ok {
				return nil
			}
			start += k
		}
		return []viewStep{{slice: true, axis: axis, start: start, size: size}}
	}
	starts, ok := l.ints(n, 1, "starts")
	steps, ok2 := l.ints(n, 4, "steps")
	if !ok || !ok2 && n.Input(4) != nil || len(starts) != 1 || len(steps) > 1 || len(steps) == 1 && steps[0] != 1 {
		return nil
	}
	if start = starts[0]; start < 0 {
		start += whole
	}
	if start < 0 || start+size > whole {
		return nil
	}
	return []viewStep{{slice: true, axis: axis, start: start, size: size}}
}

// ints is a list of integers that is an input or, in older operator sets, an
// attribute.
func (l *lowerer) ints(n *graph.Node, i int, name string) ([]int, bool) {
	var list []int64
	if v := n.Input(i); v != nil {
		t := l.constant(v)
		if t == nil {
			t = l.facts.Of(v).Const
		}
		if t == nil {
			return nil, false
		}
		var err error
		if list, err = tensor.Int64s(t); err != nil {
			return nil, false
		}
	} else if a := n.Attr(name); a != nil {
		list = a.Ints
	} else {
		return nil, false
	}
	out := make([]int, len(list))
	for k, x := range list {
		out[k] = int(x)
	}
	return out, true
}

// permOf is the order of axes that a Transpose of the given rank makes.
func permOf(n *graph.Node, rank int) []int {
	perm := make([]int, rank)
	a := n.Attr("perm")
	for i := range perm {
		if perm[i] = rank - 1 - i; a != nil {
			perm[i] = int(a.Ints[i])
		}
	}
	return perm
}
