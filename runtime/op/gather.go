package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// indices reads an index tensor whose entries select among d elements of an
// axis; negative ones count from the end.
func indices(t *tensor.Tensor, d int) ([]int, error) {
	v, ok := intsIn(t)
	if !ok {
		return nil, fmt.Errorf("indices are %v, wanted integers", t)
	}
	for i, n := range v {
		if n < -d || n >= d {
			return nil, fmt.Errorf("index %d is outside an axis of %d", n, d)
		}
		if n < 0 {
			v[i] = n + d
		}
	}
	return v, nil
}

// gather takes slices of its input along an axis: the axis is replaced by
// those of the indices.
type gather struct{ axis int }

func parseGather(a *attrs) Op { return &gather{int(a.int("axis", 0))} }

func (o *gather) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	d := in[0].DType
	if !in[0].Ranked {
		return unrankedFact(d), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	if !in[1].Ranked {
		return unrankedFact(d), nil
	}
	shape := append([]graph.Dim{}, in[0].Shape[:axis]...)
	shape = append(shape, in[1].Shape...)
	shape = append(shape, in[0].Shape[axis+1:]...)
	if in[0].Ints != nil && len(in[0].Shape) == 1 && len(shape) <= 1 && in[1].Const != nil {
		at, err := indices(in[1].Const, len(in[0].Ints))
		if err != nil {
			return nil, err
		}
		ints := make([]graph.Dim, len(at))
		for i, n := range at {
			ints[i] = in[0].Ints[n]
		}
		if len(ints) <= maxContents {
			return []graph.Fact{contents(d, ints, shape...)}, nil
		}
	}
	return tensorFact(d, shape...), nil
}

func (o *gather) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	d := x.Shape()[axis]
	at, err := indices(in[1].Tensor, d)
	if err != nil {
		return err
	}
	to, from, err := cellsPair("Gather", y, x)
	if err != nil {
		return err
	}
	inner := product(x.Shape()[axis+1:])
	for i := range product(x.Shape()[:axis]) {
		for k, n := range at {
			to.copy((i*len(at)+k)*inner, from, (i*d+n)*inner, inner)
		}
	}
	return nil
}

func (o *gather) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	at, err := indices(in[1].Tensor, x.Shape()[axis])
	if err != nil || !present(dout, 0) || !present(din, 0) {
		return err
	}
	return byFloat("Gather", x.DType(),
		func() { gatherBack[float32](x.Shape(), axis, at, dout, din) },
		func() { gatherBack[float64](x.Shape(), axis, at, dout, din) })
}

// gatherBack adds each slice of the gradient to the slice it was taken from.
func gatherBack[T float](shape []int, axis int, at []int, dout, din []tensor.Value) {
	dx, dy := gradient[T](din, 0), gradient[T](dout, 0)
	d, inner := shape[axis], product(shape[axis+1:])
	for i := range product(shape[:axis]) {
		for k, n := range at {
			addTo(dx[(i*d+n)*inner:(i*d+n+1)*inner], dy[(i*len(at)+k)*inner:])
		}
	}
}

// gatherElements takes single elements: its output has the shape of the
// indices, each of which says where along the axis its element is.
type gatherElements struct{ axis int }

func parseGatherElements(a *attrs) Op { return &gatherElements{int(a.int("axis", 0))} }

func (o *gatherElements) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if err := elementIndices(in[0], in[1], o.axis); err != nil {
		return nil, err
	}
	if !in[1].Ranked {
		return unrankedFact(in[0].DType), nil
	}
	return tensorFact(in[0].DType, in[1].Shape...), nil
}

// elementIndices checks indices that stand for single elements of x: along
// the other axes they must not reach beyond it.
func elementIndices(x, at graph.Fact, axis int) error {
	if !x.Ranked {
		return nil
	}
	if err := withRank(at, "indices", len(x.Shape)); err != nil {
		return err
	}
	axis, err := normAxis(axis, len(x.Shape))
	if err != nil {
		return err
	}
	for i, d := range at.Shape {
		n, ok := d.Const()
		m, ok2 := x.Shape[i].Const()
		if i != axis && ok && ok2 && n > m {
			return fmt.Errorf("indices%s reach beyond %s at axis %d", graph.FormatShape(at.Shape, true), x.Type, i)
		}
	}
	return nil
}

// elementPositions is where in x, seen as a list, each index points.
func elementPositions(x, at *tensor.Tensor, axis int) ([]int, error) {
	axis, err := normAxis(axis, x.Rank())
	if err != nil {
		return nil, err
	}
	pos, err := indices(at, x.Shape()[axis])
	if err != nil {
		return nil, err
	}
	strides := tensor.Strides(x.Shape())
	idx := make([]int, at.Rank())
	for k := range pos {
		p := pos[k] * strides[axis]
		for i, n := range idx {
			if i != axis {
				p += n * strides[i]
			}
		}
		pos[k] = p
		advance(idx, at.Shape())
	}
	return pos, nil
}

// advance steps an index to the next in row-major order.
func advance(idx, shape []int) {
	for i := len(idx) - 1; i >= 0; i-- {
		idx[i]++
		if idx[i] < shape[i] {
			return
		}
		idx[i] = 0
	}
}

func (o *gatherElements) Forward(_ *Ctx, in, out []tensor.Value) error {
	pos, err := elementPositions(in[0].Tensor, in[1].Tensor, o.axis)
	if err != nil {
		return err
	}
	to, from, err := cellsPair("GatherElements", out[0].Tensor, in[0].Tensor)
	if err != nil {
		return err
	}
	for k, p := range pos {
		to.copy(k, from, p, 1)
	}
	return nil
}

func (o *gatherElements) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	pos, err := elementPositions(in[0].Tensor, in[1].Tensor, o.axis)
	if err != nil {
		return err
	}
	return byFloat("GatherElements", in[0].Tensor.DType(),
		func() { scatterBack(gradient[float32](din, 0), gradient[float32](dout, 0), pos, 1) },
		func() { scatterBack(gradient[float64](din, 0), gradient[float64](dout, 0), pos, 1) })
}

// gatherND takes slices of its input: the last axis of the indices is the
// position of a slice, after batchDims axes that both share.
type gatherND struct{ batchDims int }

func parseGatherND(a *attrs) Op {
	o := &gatherND{}
	if a.opset >= 12 {
		o.batchDims = int(a.int("batch_dims", 0))
	}
	if o.batchDims < 0 {
		a.fail(fmt.Errorf("attribute batch_dims is %d", o.batchDims))
	}
	return o
}

func (o *gatherND) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x, at := in[0], in[1]
	if !x.Ranked || !at.Ranked {
		return unrankedFact(x.DType), nil
	}
	if o.batchDims >= min(len(x.Shape), len(at.Shape)) {
		return nil, fmt.Errorf("batch_dims is %d for %s and indices%s", o.batchDims, x.Type, graph.FormatShape(at.Shape, true))
	}
	for i := range o.batchDims {
		if differ(x.Shape[i], at.Shape[i]) {
			return nil, fmt.Errorf("batches of %s and indices%s differ at axis %d", x.Type, graph.FormatShape(at.Shape, true), i)
		}
	}
	last := len(at.Shape) - 1
	depth, ok := at.Shape[last].Const()
	if !ok {
		return unrankedFact(x.DType), nil
	}
	if o.batchDims+depth > len(x.Shape) {
		return nil, fmt.Errorf("indices%s name %d axes of %s after batch_dims %d", graph.FormatShape(at.Shape, true), depth, x.Type, o.batchDims)
	}
	shape := append(append([]graph.Dim{}, at.Shape[:last]...), x.Shape[o.batchDims+depth:]...)
	return tensorFact(x.DType, shape...), nil
}

// slicePositions is where in x, seen as a list, the slices that the last axis
// of at names begin, and how long each is.
func slicePositions(x, at *tensor.Tensor, batchDims int) (pos []int, size int, err error) {
	last := at.Rank() - 1
	depth := at.Shape()[last]
	axes := x.Shape()[batchDims : batchDims+depth]
	size = product(x.Shape()[batchDims+depth:])
	v, ok := intsIn(at)
	if !ok {
		return nil, 0, fmt.Errorf("indices are %v, wanted integers", at)
	}
	perBatch := product(at.Shape()[batchDims:last])
	pos = make([]int, product(at.Shape()[:last]))
	for k := range pos {
		p := k / perBatch
		for i, d := range axes {
			n := v[k*depth+i]
			if n < -d || n >= d {
				return nil, 0, fmt.Errorf("index %d is outside axis %d of %v", n, batchDims+i, x)
			}
			if n < 0 {
				n += d
			}
			p = p*d + n
		}
		pos[k] = p * size
	}
	return pos, size, nil
}

func (o *gatherND) Forward(_ *Ctx, in, out []tensor.Value) error {
	pos, size, err := slicePositions(in[0].Tensor, in[1].Tensor, o.batchDims)
	if err != nil {
		return err
	}
	to, from, err := cellsPair("GatherND", out[0].Tensor, in[0].Tensor)
	if err != nil {
		return err
	}
	for k, p := range pos {
		to.copy(k*size, from, p, size)
	}
	return nil
}

func (o *gatherND) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	pos, size, err := slicePositions(in[0].Tensor, in[1].Tensor, o.batchDims)
	if err != nil {
		return err
	}
	return byFloat("GatherND", in[0].Tensor.DType(),
		func() { scatterBack(gradient[float32](din, 0), gradient[float32](dout, 0), pos, size) },
		func() { scatterBack(gradient[float64](din, 0), gradient[float64](dout, 0), pos, size) })
}
