package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// split cuts its input along an axis, the inverse of Concat: into parts of
// listed sizes (an attribute, from opset 13 on an input), else into as many
// equal parts as there are outputs. From opset 18 on num_outputs gives the
// number of parts, of which the last may then be smaller.
type split struct {
	axis       int
	sizes      []int
	asInput    bool
	numOutputs int // 0: not given
}

func parseSplit(a *attrs) Op {
	o := &split{axis: int(a.int("axis", 0)), asInput: a.opset >= 13}
	if !o.asInput {
		o.sizes = a.ints("split")
	}
	if a.opset >= 18 && a.has("num_outputs") {
		o.numOutputs = int(a.int("num_outputs", 0))
		if o.numOutputs < 1 {
			a.fail(fmt.Errorf("attribute num_outputs is %d, wanted 1 or more", o.numOutputs))
		}
	}
	return o
}

func (o *split) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	most := 1
	if o.asInput {
		most = 2
	}
	if err := arity(in, 1, most); err != nil {
		return nil, err
	}
	if o.numOutputs > 0 && o.numOutputs != nOut {
		return nil, fmt.Errorf("num_outputs is %d, but there are %d outputs", o.numOutputs, nOut)
	}
	if o.numOutputs > 0 && given(in, 1) {
		return nil, fmt.Errorf("both split and num_outputs are given")
	}
	sizes, known := o.sizes, true
	if o.asInput {
		var err error
		if sizes, known, err = axesOf(in, 1); err != nil {
			return nil, err
		}
	}
	out := make([]graph.Fact, nOut)
	if !in[0].Ranked {
		for i := range out {
			out[i] = unrankedFact(in[0].DType)[0]
		}
		return out, nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	parts := unknownDims(nOut)
	if known {
		if parts, err = o.parts(sizes, in[0].Shape[axis], nOut); err != nil {
			return nil, fmt.Errorf("axis %d of %s: %w", axis, in[0].Type, err)
		}
	}
	at := 0
	for i := range out {
		shape := append([]graph.Dim{}, in[0].Shape...)
		shape[axis] = parts[i]
		out[i] = tensorFact(in[0].DType, shape...)[0]
		n, ok := parts[i].Const()
		if in[0].Ints != nil && len(shape) == 1 && ok && at >= 0 && at+n <= len(in[0].Ints) {
			out[i] = contents(in[0].DType, in[0].Ints[at:at+n], shape...)
			at += n
		} else {
			at = -1
		}
	}
	return out, nil
}

// parts is the sizes along the axis; sizes is nil where none are listed.
func (o *split) parts(sizes []int, d graph.Dim, nOut int) ([]graph.Dim, error) {
	if sizes != nil {
		return listedParts(sizes, d, nOut)
	}
	return o.equalParts(d, nOut)
}

// listedParts checks the listed sizes of parts.
func listedParts(sizes []int, d graph.Dim, nOut int) ([]graph.Dim, error) {
	if len(sizes) != nOut {
		return nil, fmt.Errorf("split %v has %d sizes for %d outputs", sizes, len(sizes), nOut)
	}
	sum := 0
	for _, n := range sizes {
		if n < 0 || n > tensor.MaxElements {
			return nil, fmt.Errorf("split %v has the size %d", sizes, n)
		}
		sum += n
	}
	if differ(d, graph.Size(sum)) {
		return nil, fmt.Errorf("split %v adds up to %d", sizes, sum)
	}
	return graph.Sizes(sizes), nil
}

// equalParts is the sizes of nOut parts as equal as the opset allows.
func (o *split) equalParts(d graph.Dim, nOut int) ([]graph.Dim, error) {
	parts := unknownDims(nOut)
	n, ok := d.Const()
	if !ok {
		if o.numOutputs == 0 {
			for i := range parts {
				parts[i] = d.Div(graph.Size(nOut))
			}
		}
		return parts, nil
	}
	each := (n + nOut - 1) / nOut
	last := n - each*(nOut-1)
	if o.numOutputs == 0 && last != each || last < 0 {
		return nil, fmt.Errorf("does not split into %d equal parts", nOut)
	}
	for i := range parts {
		parts[i] = graph.Size(each)
	}
	parts[nOut-1] = graph.Size(last)
	return parts, nil
}

func (o *split) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	parts, err := o.partsOf(in, axis, len(out))
	if err != nil {
		return err
	}
	return copyParts(ctx.Pool, "Split", x, axis, out, parts, false)
}

// partsOf is the sizes of the parts in a run.
func (o *split) partsOf(in []tensor.Value, axis, nOut int) ([]int, error) {
	sizes := o.sizes
	if present(in, 1) {
		sizes, _ = intsIn(in[1].Tensor)
	}
	dims, err := o.parts(sizes, graph.Size(in[0].Tensor.Shape()[axis]), nOut)
	if err != nil {
		return nil, err
	}
	parts, _ := graph.Ints(dims)
	return parts, nil
}

func (o *split) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil || !present(din, 0) {
		return err
	}
	parts, err := o.partsOf(in, axis, len(out))
	if err != nil {
		return err
	}
	return byFloat("Split", x.DType(),
		func() { splitBack[float32](x.Shape(), axis, parts, dout, din) },
		func() { splitBack[float64](x.Shape(), axis, parts, dout, din) })
}

func splitBack[T float](shape []int, axis int, parts []int, dout, din []tensor.Value) {
	dx := gradient[T](din, 0)
	inner := product(shape[axis+1:])
	width, at := shape[axis]*inner, 0
	for k, part := range parts {
		n := part * inner
		if dy := gradient[T](dout, k); dy != nil {
			for i := range product(shape[:axis]) {
				addTo(dx[i*width+at:i*width+at+n], dy[i*n:])
			}
		}
		at += n
	}
}
