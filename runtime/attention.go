package runtime

import (
	"fmt"
	"slices"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// attention is Y = Softmax(scale·Q·Kᵀ + mask)·V over the last two axes, whose
// axes are then permuted by perm, the last one staying last. Q[… T d], K[… S d]
// and V[… S e] are views of the first three inputs, the mask, [T S] behind any
// leading axes of 1 or the result's size, is the fourth where there is one.
type attention struct {
	q, k, v []viewStep
	scale   float32
	perm    []int // nil: as they are
	jobs    sync.Pool
}

// maxAxes bounds the rank of views, so that they live in arrays.
const maxAxes = 8

// A view is a tensor seen in other axes: element (i, j, …) is at off + i·strides[0] + ….
type view struct {
	n, off  int
	dims    [maxAxes]int
	strides [maxAxes]int
}

// A viewStep changes a view: one of its fields is set.
type viewStep struct {
	perm  []int // axes in a new order
	split []int // the last axis in parts
	slice bool  // of axis, size elements from start on
	drop  bool  // axis, of one element
	axis  int
	start int
	size  int
}

// viewOf is the view of a tensor of this shape after the steps; false where
// one does not fit.
func viewOf(shape []int, steps []viewStep) (v view, ok bool) {
	if len(shape) > maxAxes {
		return v, false
	}
	n := 1
	v.n = len(shape)
	for i := len(shape) - 1; i >= 0; i-- {
		v.dims[i], v.strides[i] = shape[i], n
		n *= shape[i]
	}
	for i := range steps {
		if !v.step(&steps[i]) {
			return v, false
		}
	}
	return v, true
}

func (v *view) step(s *viewStep) bool {
	switch {
	case s.perm != nil:
		old := *v
		if len(s.perm) != v.n {
			return false
		}
		for i, p := range s.perm {
			v.dims[i], v.strides[i] = old.dims[p], old.strides[p]
		}
	case s.split != nil:
		at := v.n - 1
		size, stride := v.dims[at], v.strides[at]
		if at+len(s.split) > maxAxes {
			return false
		}
		for i := len(s.split) - 1; i >= 0; i-- {
			if s.split[i] < 1 || size%s.split[i] != 0 {
				return false
			}
			v.dims[at+i], v.strides[at+i] = s.split[i], stride
			size, stride = size/s.split[i], stride*s.split[i]
		}
		v.n = at + len(s.split)
		return size == 1
	case s.slice:
		if s.start < 0 || s.start+s.size > v.dims[s.axis] {
			return false
		}
		v.off += s.start * v.strides[s.axis]
		v.dims[s.axis] = s.size
	case s.drop:
		if v.dims[s.axis] != 1 {
			return false
		}
		copy(v.dims[s.axis:], v.dims[s.axis+1:])
		copy(v.strides[s.axis:], v.strides[s.axis+1:])
		v.n--
	}
	return true
}

// at is the offset of the i-th matrix of the view, and its strides.
func (v *view) at(i int) (off, rows, cols int) {
	off = v.off
	for k := v.n - 3; k >= 0; k-- {
		off += i % v.dims[k] * v.strides[k]
		i /= v.dims[k]
	}
	return off, v.strides[v.n-2], v.strides[v.n-1]
}

// views is the views of Q, K and V for inputs of these shapes.
func (o *attention) views(q, k, v []int) (a, b, c view, err error) {
	var ok [3]bool
	a, ok[0] = viewOf(q, o.q)
	b, ok[1] = viewOf(k, o.k)
	c, ok[2] = viewOf(v, o.v)
	n := a.n
	if !ok[0] || !ok[1] || !ok[2] || n < 2 || b.n != n || c.n != n || a.dims[n-1] != b.dims[n-1] || b.dims[n-2] != c.dims[n-2] ||
		!slices.Equal(a.dims[:n-2], b.dims[:n-2]) || !slices.Equal(a.dims[:n-2], c.dims[:n-2]) {
		return a, b, c, fmt.Errorf("inputs of shapes %v, %v and %v are no queries, keys and values", q, k, v)
	}
	return a, b, c, nil
}

func (o *attention) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	var shapes [3][]int
	for i := range shapes {
		s, ok := graph.Ints(in[i].Shape)
		if !ok || !in[i].Ranked || in[i].DType != tensor.Float32 {
			return []graph.Fact{{Type: graph.Type{Kind: tensor.KindTensor, DType: tensor.Float32}}}, nil
		}
		shapes[i] = s
	}
	q, _, v, err := o.views(shapes[0], shapes[1], shapes[2])
	if err != nil {
		return nil, err
	}
	dims := append(slices.Clone(q.dims[:q.n-1]), v.dims[v.n-1])
	if len(in) > 3 {
		if m, ok := graph.Ints(in[3].Shape); ok {
			if _, ok := maskStrides(m, append(slices.Clone(q.dims[:q.n-1]), v.dims[v.n-2])); !ok {
				return nil, fmt.Errorf("the mask %v does not fit", in[3].Type)
			}
		}
	}
	out := dims
	if o.perm != nil {
		out = make([]int, len(dims))
		for i, p := range o.perm {
			out[i] = dims[p]
		}
	}
	return []graph.Fact{{Type: graph.TensorType(tensor.Float32, graph.Sizes(out)...)}}, nil
}

// maskStrides is the strides of a mask in scores of the given shape, 0 where it
// is the same along an axis.
func maskStrides(mask, scores []int) (s view, ok bool) {
	lead := len(scores) - len(mask)
	if lead < 0 || len(mask) < 2 || len(scores) > maxAxes {
		return s, false
	}
	n := 1
	s.n = len(scores)
	for i := len(mask) - 1; i >= 0; i-- {
		s.dims[lead+i] = scores[lead+i]
		switch {
		case mask[i] == scores[lead+i]:
			s.strides[lead+i] = n
		case mask[i] != 1 || i == len(mask)-1:
			return s, false
		}
		n *= mask[i]
	}
	for i := range lead {
		s.dims[i] = scores[i]
	}
	return s, true
}

// An attentionJob is one attention at work, kept for the next run.
type attentionJob struct {
	o          *attention
	q, k, v, m view
	y          view // of Y before it is permuted
	x          [4][]float32
	out        []float32
	scratches  sync.Pool // of *[]float32: the scores and the scaled queries of one matrix
	fn         func(lo, hi int)
}

func (o *attention) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	j, _ := o.jobs.Get().(*attentionJob)
	if j == nil {
		j = &attentionJob{o: o}
		j.fn = j.run
	}
	var err error
	if j.q, j.k, j.v, err = o.views(in[0].Tensor.Shape(), in[1].Tensor.Shape(), in[2].Tensor.Shape()); err != nil {
		return err
	}
	for i, v := range in {
		j.x[i] = tensor.Data[float32](v.Tensor)
	}
	j.out = tensor.Data[float32](out[0].Tensor)
	// Y's axes in the order of the scores'.
	shape := out[0].Tensor.Shape()
	n, stride := len(shape), 1
	j.y.n = n
	for i := n - 1; i >= 0; i-- {
		axis := i
		if o.perm != nil {
			axis = o.perm[i]
		}
		j.y.dims[axis], j.y.strides[axis] = shape[i], stride
		stride *= shape[i]
	}
	matrices := 1
	for _, d := range j.q.dims[:n-2] {
		matrices *= d
	}
	if len(in) > 3 {
		var scores [maxAxes]int
		copy(scores[:], j.q.dims[:n-1])
		scores[n-1] = j.k.dims[n-2]
		j.m, _ = maskStrides(in[3].Tensor.Shape(), scores[:n])
	}
	if len(j.out) > 0 {
		work := j.q.dims[n-2] * j.k.dims[n-2] * (j.q.dims[n-1] + j.v.dims[n-1])
		ctx.Pool.For(matrices, max(1, attentionGrain/max(1, work)), j.fn)
	}
	j.x, j.out = [4][]float32{}, nil
	o.jobs.Put(j)
	return nil
}

// attentionGrain is the multiplications that are worth a task of their own.
const attentionGrain = 1 << 20

// run does the matrices lo … hi-1.
func (j *attentionJob) run(lo, hi int) {
	n := j.q.n
	t, s, d, e := j.q.dims[n-2], j.k.dims[n-2], j.q.dims[n-1], j.v.dims[n-1]
	scratch, _ := j.scratches.Get().(*[]float32)
	if scratch == nil {
		scratch = new([]float32)
	}
	if len(*scratch) < t*(s+d) {
		*scratch = make([]float32, t*(s+d))
	}
	scores, queries := (*scratch)[:t*s], (*scratch)[t*s:t*(s+d)]
	for i := lo; i < hi; i++ {
		off, rows, cols := j.q.at(i)
		for r := range t {
			row := queries[r*d : (r+1)*d]
			if cols == 1 {
				for c, x := range j.x[0][off+r*rows:][:len(row)] {
					row[c] = j.o.scale * x
				}
				continue
			}
			for c := range row {
				row[c] = j.o.scale * j.x[0][off+r*rows+c*cols]
			}
		}
		var end kernel.Epilogue32
		if j.x[3] != nil {
			at, stride, _ := j.m.at(i)
			end.Add, end.AddStride = j.x[3][at:], stride
		}
		off, rows, cols = j.k.at(i)
		kernel.GemmEpilogue32(nil, t, s, d, queries, d, 1, j.x[1][off:], cols, rows, scores, s, end)
		kernel.Softmax32(nil, t, s, scores, s, scores, s)
		off, rows, cols = j.v.at(i)
		to, ldc, _ := j.y.at(i)
		kernel.Gemm32(nil, t, e, s, scores, s, 1, j.x[2][off:], rows, cols, j.out[to:], ldc, false)
	}
	j.scratches.Put(scratch)
}
