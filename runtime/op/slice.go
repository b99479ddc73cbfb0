package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// slice takes, along some axes, the elements from start to end (exclusive) in
// steps, as Python does: negative positions count from the end, and all are
// clamped. Up to opset 9 the lists are attributes and steps are 1.
type slice struct {
	starts, ends, axes []int // attributes
	asInput            bool
}

func parseSlice(a *attrs) Op {
	if a.opset >= 10 {
		return &slice{asInput: true}
	}
	a.require("starts")
	a.require("ends")
	return &slice{starts: a.ints("starts"), ends: a.ints("ends"), axes: a.ints("axes")}
}

// A span is what Slice takes of one axis: n elements from start on.
type span struct{ start, step, n int }

// newSpan applies Python's rules to an axis of d elements.
func newSpan(start, end, step, d int) span {
	if start < 0 {
		start += d
	}
	if end < 0 {
		end += d
	}
	lo, hi := 0, d // where positions are clamped to
	if step < 0 {
		lo, hi = -1, d-1
	}
	start, end = min(max(start, lo), hi), min(max(end, lo), hi)
	n := 0
	switch {
	case step > 0 && end > start:
		n = (end-start-1)/step + 1
	case step < 0 && start > end:
		// −step of the least integer is itself; uint makes it right.
		n = int(uint(start-end-1)/uint(-step)) + 1
	}
	return span{start, step, n}
}

// lists is the four inputs; known is false where one of axes and steps
// depends on data. starts and ends may be partly known.
func (o *slice) lists(in []graph.Fact) (starts, ends []graph.Dim, axes, steps []int, known bool, err error) {
	if !o.asInput {
		return nil, nil, o.axes, nil, true, arity(in, 1, 1)
	}
	if err := arity(in, 3, 5); err != nil {
		return nil, nil, nil, nil, false, err
	}
	axes, known, err = axesOf(in, 3)
	if err != nil {
		return nil, nil, nil, nil, false, err
	}
	steps, known2, err := axesOf(in, 4)
	return intsOf(in[1]), intsOf(in[2]), axes, steps, known && known2, err
}

func (o *slice) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	startDims, endDims, axes, steps, known, err := o.lists(in)
	if err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return unrankedFact(in[0].DType), nil
	}
	rank := len(in[0].Shape)
	starts, ends := o.starts, o.ends
	startsKnown, endsKnown := true, true
	count := len(starts)
	if o.asInput {
		if starts, startsKnown, err = axesOf(in, 1); err != nil {
			return nil, err
		}
		if ends, endsKnown, err = axesOf(in, 2); err != nil {
			return nil, err
		}
		count = max(len(startDims), len(endDims))
		known = known && startDims != nil && endDims != nil
	}
	if !known {
		return rankFact(in[0].DType, rank), nil
	}
	if axes == nil {
		if count > rank {
			return nil, fmt.Errorf("%d starts for %s", count, in[0].Type)
		}
		axes = upTo(count)
	}
	if o.asInput && len(startDims) != len(endDims) || !o.asInput && len(starts) != len(ends) ||
		len(axes) != count || steps != nil && len(steps) != count {
		return nil, fmt.Errorf("starts, ends, axes and steps are not of one length")
	}
	if axes, err = normAxes(axes, rank); err != nil {
		return nil, err
	}
	shape := append([]graph.Dim{}, in[0].Shape...)
	for i, a := range axes {
		step := 1
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return nil, fmt.Errorf("step of axis %d is 0", a)
		}
		// What is known of the two positions: a number, or a dimension.
		var from, to position
		if startsKnown {
			from = position{n: starts[i], isNumber: true}
		} else {
			from = positionOf(startDims[i])
		}
		if endsKnown {
			to = position{n: ends[i], isNumber: true}
		} else {
			to = positionOf(endDims[i])
		}
		shape[a] = spanDim(from, to, step, shape[a])
	}
	if in[0].Ints != nil && rank == 1 && startsKnown && endsKnown && len(axes) == 1 {
		if _, ok := shape[0].Const(); ok {
			step := 1
			if steps != nil {
				step = steps[0]
			}
			s := newSpan(starts[0], ends[0], step, len(in[0].Ints))
			ints := make([]graph.Dim, s.n)
			for k := range ints {
				ints[k] = in[0].Ints[s.start+k*s.step]
			}
			return []graph.Fact{contents(in[0].DType, ints, shape...)}, nil
		}
	}
	return tensorFact(in[0].DType, shape...), nil
}

// A position is a start or an end: a number, else a dimension, perhaps
// Unknown.
type position struct {
	n        int
	isNumber bool
	dim      graph.Dim
}

func positionOf(d graph.Dim) position {
	n, ok := d.Const()
	return position{n, ok, d}
}

// spanDim is how many elements a slice of d has. Of a symbolic axis it is
// known only where the slice takes all.
func spanDim(from, to position, step int, d graph.Dim) graph.Dim {
	n, ok := d.Const()
	if ok && from.isNumber && to.isNumber {
		return graph.Size(newSpan(from.n, to.n, step, n).n)
	}
	if !from.isNumber {
		return graph.Unknown
	}
	// An end this large is how exporters write "to the end".
	toEnd := to.isNumber && to.n >= math.MaxInt32 || !to.isNumber && to.dim.Same(d)
	toStart := to.isNumber && to.n <= math.MinInt32
	if step == 1 && from.n == 0 && toEnd || step == -1 && (from.n == -1 || from.n >= math.MaxInt32) && toStart {
		return d
	}
	if !ok && step == 1 && from.n == 0 && to.isNumber && to.n == 0 {
		return graph.Size(0)
	}
	return graph.Unknown
}

// upTo is 0, 1, … n−1.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// box is what Slice copies to make y of its inputs.
func (o *slice) box(in []tensor.Value, y *tensor.Tensor) (box, error) {
	x := in[0].Tensor
	starts, ends, axes := o.starts, o.ends, o.axes
	var steps []int
	if o.asInput {
		starts, _ = intsIn(in[1].Tensor)
		ends, _ = intsIn(in[2].Tensor)
		if present(in, 3) {
			axes, _ = intsIn(in[3].Tensor)
		}
		if present(in, 4) {
			steps, _ = intsIn(in[4].Tensor)
		}
	}
	if axes == nil {
		axes = upTo(len(starts))
	}
	axes, err := normAxes(axes, x.Rank())
	if err != nil {
		return box{}, err
	}
	b := box{shape: y.Shape(), dstStrides: tensor.Strides(y.Shape()), srcStrides: tensor.Strides(x.Shape())}
	for i, a := range axes {
		step := 1
		if steps != nil {
			step = steps[i]
		}
		s := newSpan(starts[i], ends[i], step, x.Shape()[a])
		b.src += s.start * b.srcStrides[a]
		if s.n > 1 { // a step past the end must not overflow
			b.srcStrides[a] *= s.step
		}
	}
	return b, nil
}

func (o *slice) Forward(ctx *Ctx, in, out []tensor.Value) error {
	b, err := o.box(in, out[0].Tensor)
	if err != nil {
		return err
	}
	return copyBox(ctx.Pool, "Slice", out[0].Tensor, in[0].Tensor, b)
}

func (o *slice) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	b, err := o.box(in, out[0].Tensor)
	if err != nil {
		return err
	}
	return boxBack("Slice", b, dout, din)
}
