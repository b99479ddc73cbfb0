package op

import (
	"fmt"
	"sync/atomic"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// indices reads an index tensor whose entries select among d elements of an
// axis, over all cores; negative ones count from the end.
func indices(p *kernel.Pool, t *tensor.Tensor, d int) ([]int, error) {
	if t.Len() > elementGrain {
		switch t.DType() {
		case tensor.Int64:
			if out, ok := indicesAs(p, tensor.Data[int64](t), d); ok {
				return out, nil
			}
		case tensor.Int32:
			if out, ok := indicesAs(p, tensor.Data[int32](t), d); ok {
				return out, nil
			}
		}
	}
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

// indicesAs is indices of a list; ok is false where one is outside the axis.
func indicesAs[T int32 | int64](p *kernel.Pool, v []T, d int) (out []int, ok bool) {
	out = *placeScratches.get(len(v))
	var outside atomic.Bool
	p.For(len(v), elementGrain, func(lo, hi int) {
		out, bad := out[lo:hi], false
		for i, n := range v[lo:hi] {
			k := int(n)
			k += d & (k >> 63) // no branch: signs may well be mixed
			if uint(k) >= uint(d) {
				bad = true
			}
			out[i] = k
		}
		if bad {
			outside.Store(true)
		}
	})
	return out, !outside.Load()
}

// takeRuns copies runs of n elements, one after the other into dst, over all cores: those that begin at
// i·outerStep + at[k]·step of src, for every i below outer and every k.
func takeRuns(p *kernel.Pool, name string, dst, src *tensor.Tensor, outer, outerStep int, at []int, step, n int) error {
	if dst.DType() == tensor.String {
		takeRunsAs(p, tensor.Data[string](dst), tensor.Data[string](src), outer, outerStep, at, step, n)
		return nil
	}
	switch dst.DType().Bits() {
	case 8:
		takeRunsAs(p, tensor.Data[uint8](dst), tensor.Data[uint8](src), outer, outerStep, at, step, n)
	case 16:
		takeRunsAs(p, tensor.Data[uint16](dst), tensor.Data[uint16](src), outer, outerStep, at, step, n)
	case 32:
		takeRunsAs(p, tensor.Data[uint32](dst), tensor.Data[uint32](src), outer, outerStep, at, step, n)
	case 64:
		takeRunsAs(p, tensor.Data[uint64](dst), tensor.Data[uint64](src), outer, outerStep, at, step, n)
	case 128:
		takeRunsAs(p, tensor.Data[complex128](dst), tensor.Data[complex128](src), outer, outerStep, at, step, n)
	default:
		return unsupportedType(name, dst.DType())
	}
	return nil
}

func takeRunsAs[T tensor.Elem](p *kernel.Pool, to, from []T, outer, outerStep int, at []int, step, n int) {
	if n == 0 || len(at) == 0 {
		return
	}
	if n > 2*elementGrain { // the runs in pieces
		pieces := (n-1)/elementGrain + 1
		p.For(outer*len(at)*pieces, 1, func(lo, hi int) {
			for t := lo; t < hi; t++ {
				run, k := t/pieces, t%pieces*elementGrain
				src := run/len(at)*outerStep + at[run%len(at)]*step
				copy(to[run*n+k:run*n+min(n, k+elementGrain)], from[src+k:])
			}
		})
		return
	}
	p.For(outer*len(at), max(1, elementGrain/n), func(lo, hi int) {
		for t := lo; t < hi; {
			i, k := t/len(at), t%len(at)
			list := at[k:min(len(at), k+hi-t)]
			out, in := to[t*n:(t+len(list))*n], from[i*outerStep:]
			t += len(list)
			if n == 1 {
				for j, a := range list {
					out[j] = in[a*step]
				}
				continue
			}
			for j, a := range list {
				copy(out[j*n:(j+1)*n], in[a*step:])
			}
		}
	})
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
		at, err := indices(nil, in[1].Const, len(in[0].Ints))
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

func (o *gather) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	d := x.Shape()[axis]
	at, err := indices(ctx.Pool, in[1].Tensor, d)
	if err != nil {
		return err
	}
	defer placeScratches.give(at)
	inner := product(x.Shape()[axis+1:])
	return takeRuns(ctx.Pool, "Gather", y, x, product(x.Shape()[:axis]), d*inner, at, inner, inner)
}

func (o *gather) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	at, err := indices(ctx.Pool, in[1].Tensor, x.Shape()[axis])
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
func elementPositions(p *kernel.Pool, x, at *tensor.Tensor, axis int) ([]int, error) {
	axis, err := normAxis(axis, x.Rank())
	if err != nil {
		return nil, err
	}
	pos, err := indices(p, at, x.Shape()[axis])
	if err != nil {
		return nil, err
	}
	if len(pos) == 0 {
		return pos, nil
	}
	strides := tensor.Strides(x.Shape())
	last := at.Rank() - 1
	outer, n, step := at.Shape()[:last], at.Shape()[last], strides[axis]
	along := 1 // what a position along the last axis adds
	if axis == last {
		along = 0
	}
	p.For(len(pos)/n, max(1, elementGrain/n), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			src := 0
			for i, rest := last-1, row; i >= 0; i-- {
				if i != axis {
					src += rest % outer[i] * strides[i]
				}
				rest /= outer[i]
			}
			for k, v := range pos[row*n : (row+1)*n] {
				pos[row*n+k] = src + v*step + k*along
			}
		}
	})
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

func (o *gatherElements) Forward(ctx *Ctx, in, out []tensor.Value) error {
	axis, err := normAxis(o.axis, in[0].Tensor.Rank())
	if err == nil && pickElements(ctx.Pool, out[0].Tensor, in[0].Tensor, in[1].Tensor, axis) {
		return nil
	}
	pos, err := elementPositions(ctx.Pool, in[0].Tensor, in[1].Tensor, o.axis)
	if err != nil {
		return err
	}
	defer placeScratches.give(pos)
	return takeRuns(ctx.Pool, "GatherElements", out[0].Tensor, in[0].Tensor, 1, 0, pos, 1, 1)
}

func (o *gatherElements) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	pos, err := elementPositions(ctx.Pool, in[0].Tensor, in[1].Tensor, o.axis)
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
func slicePositions(p *kernel.Pool, x, at *tensor.Tensor, batchDims int) (pos []int, size int, err error) {
	last := at.Rank() - 1
	depth := at.Shape()[last]
	axes := x.Shape()[batchDims : batchDims+depth]
	size = product(x.Shape()[batchDims+depth:])
	pos = *placeScratches.get(product(at.Shape()[:last]))
	perBatch := product(at.Shape()[batchDims:last])
	var bad int
	switch at.DType() {
	case tensor.Int64:
		bad = slicesAs(p, pos, tensor.Data[int64](at), axes, perBatch, size)
	case tensor.Int32:
		bad = slicesAs(p, pos, tensor.Data[int32](at), axes, perBatch, size)
	default:
		v, err := tensor.Int64s(at)
		if err != nil {
			return nil, 0, fmt.Errorf("indices are %v, wanted integers", at)
		}
		bad = slicesAs(p, pos, v, axes, perBatch, size)
	}
	if bad >= 0 {
		v, _ := intsIn(at)
		return nil, 0, fmt.Errorf("index %d is outside axis %d of %v", v[bad], batchDims+bad%depth, x)
	}
	return pos, size, nil
}

// slicesAs writes slicePositions of a list. Of the indices outside their axes it returns the first, else −1.
func slicesAs[T int32 | int64](p *kernel.Pool, pos []int, v []T, axes []int, perBatch, size int) int {
	depth := len(axes)
	var bad atomic.Int64 // the first, counted from the end of the list
	p.For(len(pos), max(1, elementGrain/max(1, depth)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			at := k / perBatch
			for i, d := range axes {
				n := int(v[k*depth+i])
				n += d & (n >> 63)
				if uint(n) >= uint(d) {
					raise(&bad, int64(len(v)-k*depth-i))
					return
				}
				at = at*d + n
			}
			pos[k] = at * size
		}
	})
	if b := bad.Load(); b > 0 {
		return len(v) - int(b)
	}
	return -1
}

// raise makes m at least v.
func raise(m *atomic.Int64, v int64) {
	for old := m.Load(); old < v && !m.CompareAndSwap(old, v); old = m.Load() {
	}
}

func (o *gatherND) Forward(ctx *Ctx, in, out []tensor.Value) error {
	if pickPoints(ctx.Pool, out[0].Tensor, in[0].Tensor, in[1].Tensor, o.batchDims) {
		return nil
	}
	pos, size, err := slicePositions(ctx.Pool, in[0].Tensor, in[1].Tensor, o.batchDims)
	if err != nil {
		return err
	}
	defer placeScratches.give(pos)
	return takeRuns(ctx.Pool, "GatherND", out[0].Tensor, in[0].Tensor, 1, 0, pos, 1, size)
}

func (o *gatherND) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	pos, size, err := slicePositions(ctx.Pool, in[0].Tensor, in[1].Tensor, o.batchDims)
	if err != nil {
		return err
	}
	return byFloat("GatherND", in[0].Tensor.DType(),
		func() { scatterBack(gradient[float32](din, 0), gradient[float32](dout, 0), pos, size) },
		func() { scatterBack(gradient[float64](din, 0), gradient[float64](dout, 0), pos, size) })
}
