package op

import (
	"slices"

	"bilinc/runtime/graph"
)

// A Cut says how a value follows when the rows of a batch are cut in parts.
type Cut uint8

const (
	// Uncut is the same for all parts.
	Uncut Cut = iota
	// InRows has the batch's rows, or runs of as many rows for each of them, along its
	// first axis, and along no other: a part of the batch has a part of it.
	InRows
	// Sized is integers that say how large values are, of which some are InRows: each
	// part has its own.
	Sized
)

// ByRows is how o's outputs follow where its inputs do as cuts says, and reports
// whether they do: whether o, run on the parts of a batch one by one, gives the parts
// of what it gives on the whole, and so do its gradients, those by Uncut inputs being
// the sum of the parts'. in and out are what is known of o's inputs and outputs, rows is
// the batch's size there. Operators that are not known to do so do not.
func ByRows(o Op, rows graph.Dim, in, out []graph.Fact, cuts []Cut) (Cut, bool) {
	r := byRows{rows, in, out, cuts}
	some := func(c Cut) bool { return slices.Contains(cuts, c) }
	if _, random := o.(Random); random && !some(InRows) {
		return Uncut, false // the parts would draw what differs
	}
	if !some(InRows) && !some(Sized) || r.constant() {
		return Uncut, true
	}
	if r.sizes(o) {
		return Sized, true
	}
	return InRows, r.outRows() && r.apart(o)
}

// byRows is the arguments of ByRows.
type byRows struct {
	rows    graph.Dim
	in, out []graph.Fact
	cuts    []Cut
}

// constant reports whether all outputs are known.
func (r *byRows) constant() bool {
	return !slices.ContainsFunc(r.out, func(f graph.Fact) bool { return f.Const == nil })
}

// outRows reports whether all outputs have the batch's rows along the first axis and
// no other.
func (r *byRows) outRows() bool {
	for _, f := range r.out {
		if !f.Ranked || len(f.Shape) == 0 {
			return false
		}
		if n, ok := f.Shape[0].Div(r.rows).Const(); !ok || n == 0 {
			return false
		}
		for _, d := range f.Shape[1:] {
			if !d.IsKnown() || d.Div(r.rows).IsKnown() {
				return false
			}
		}
	}
	return true
}

// sizes reports whether o computes sizes.
func (r *byRows) sizes(o Op) bool {
	for _, f := range r.out {
		if !f.DType.IsInteger() {
			return false
		}
	}
	switch o.(type) {
	case *shapeOf, sizeOf:
		return true
	case *gather, *slice, *concat, *squeeze, *unsqueeze, *reshape, *cast, *arith, identity:
		return !slices.Contains(r.cuts, InRows)
	}
	return false
}

// is reports whether the i-th input follows as c says; one that is left out is Uncut.
func (r *byRows) is(i int, c Cut) bool {
	if !given(r.in, i) {
		return c == Uncut
	}
	return r.cuts[i] == c
}

// alone reports whether the first input is in rows and no other is.
func (r *byRows) alone() bool {
	return r.is(0, InRows) && !slices.ContainsFunc(r.cuts[1:], func(c Cut) bool { return c != Uncut })
}

// rank is that of the i-th input; -1 where it is not known.
func (r *byRows) rank(i int) int {
	if !given(r.in, i) || !r.in[i].Ranked {
		return -1
	}
	return len(r.in[i].Shape)
}

// apart reports whether o, some of whose inputs are not Uncut and whose outputs look
// as if they were in rows, keeps rows apart.
func (r *byRows) apart(o Op) bool {
	switch o := o.(type) {
	case *unary, *reluOp, *clip, *cast, castLike, identity, not, *compare, *logic, *arith, *variadic, pow, *mod, *bitwise, where, *prelu, *numeric, *classify:
		return r.elements()
	case *bias:
		return r.alone() && r.rank(0) >= 2
	case *dropout:
		return r.alone()
	case *trainingDropout:
		return r.alone() && o.seed == nil
	case *BilinearStep:
		return r.alone() && r.rank(0) >= 2
	case *gemm:
		return r.alone() && !o.transA && (!given(r.in, 2) || r.broadcast(2))
	case matMul:
		return r.products()
	case *conv, *convTranspose, *pool, *globalPool, *channelNorm, *lrn, *depthToSpace, *spaceToDepth:
		return r.alone()
	case *layerNorm:
		return r.alone() && r.later(o.axis)
	case *softmax:
		axis, err := o.rows(r.rank(0))
		return r.alone() && err == nil && axis > 0
	case *lpNorm:
		return r.alone() && r.later(o.axis)
	case *reshape, *flatten, *squeeze, *unsqueeze:
		// The elements keep their order, so that each row's stay together.
		return r.is(0, InRows) && !r.is(1, InRows)
	case *transpose:
		order, err := o.order(r.rank(0))
		return r.alone() && err == nil && order[0] == 0
	case *concat:
		return !slices.ContainsFunc(r.cuts, func(c Cut) bool { return c != InRows }) && r.later(o.axis)
	case *split:
		return r.alone() && r.later(o.axis)
	case *slice:
		_, _, axes, _, known, err := o.lists(r.in)
		return r.alone() && known && err == nil && axes != nil && !slices.ContainsFunc(axes, func(a int) bool { return !r.later(a) })
	case *gather:
		if r.is(1, InRows) { // rows of a table
			axis, err := normAxis(o.axis, r.rank(0))
			return r.is(0, Uncut) && err == nil && axis == 0
		}
		return r.alone() && r.later(o.axis)
	case *reduce:
		return r.alone() && r.rank(0) > 0 && r.in[0].Shape[0].Same(r.out[0].Shape[0])
	case expand:
		return !r.is(1, InRows) && r.elementsOf(0)
	case *constantOfShape:
		return r.is(0, Sized)
	}
	return false
}

// later reports whether an axis of the first input is not its first.
func (r *byRows) later(axis int) bool {
	axis, err := normAxis(axis, r.rank(0))
	return err == nil && axis > 0
}

// elements reports whether all inputs lie to the outputs as those of an operator
// that works element by element have to.
func (r *byRows) elements() bool {
	for i := range r.in {
		if given(r.in, i) && !r.elementsOf(i) {
			return false
		}
	}
	return true
}

// elementsOf reports whether the i-th input has the rows of the output, or is the
// same for all of them.
func (r *byRows) elementsOf(i int) bool {
	switch {
	case r.is(i, InRows):
		return r.rank(i) == len(r.out[0].Shape) && r.in[i].Shape[0].Same(r.out[0].Shape[0])
	case r.is(i, Uncut):
		return r.broadcast(i)
	}
	return false
}

// broadcast reports whether the i-th input, which is Uncut, is broadcast along the
// output's first axis.
func (r *byRows) broadcast(i int) bool {
	n := r.rank(i)
	return r.is(i, Uncut) && n >= 0 && (n < len(r.out[0].Shape) || n == len(r.out[0].Shape) && r.in[i].Shape[0].Is(1))
}

// products reports whether MatMul keeps rows apart: those of A, or of a batch of
// matrices.
func (r *byRows) products() bool {
	a, b := r.rank(0), r.rank(1)
	batch := func(i, rank, other int) bool { // the first axis is one of the list of matrices, and the other's are not
		return rank >= 3 && (other < rank && other > 0 || other == rank && r.in[1-i].Shape[0].Is(1))
	}
	switch {
	case r.is(0, InRows) && r.is(1, InRows):
		return a == b && a >= 3 && r.in[0].Shape[0].Same(r.in[1].Shape[0])
	case r.is(0, InRows) && r.is(1, Uncut):
		return a == 2 && (b == 1 || b == 2) || batch(0, a, b)
	case r.is(0, Uncut) && r.is(1, InRows):
		return batch(1, b, a)
	}
	return false
}
