package runtime

import (
	"slices"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// permute is a Transpose of float32 that allocates nothing: it copies the rows
// of the result one after the other.
type permute struct {
	inner op.Op
	steps []viewStep
}

func (o *permute) Infer(in []graph.Fact, n int) ([]graph.Fact, error) { return o.inner.Infer(in, n) }

func (o *permute) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	v, ok := viewOf(x.Shape(), o.steps)
	if !ok || v.n == 0 {
		return o.inner.Forward(ctx, in, out)
	}
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	last := v.n - 1
	n, step := v.dims[last], v.strides[last]
	var at [maxAxes]int
	off := 0
	for to := 0; to < len(dst); to += n {
		row := dst[to : to+n]
		if step == 1 {
			copy(row, src[off:off+n])
		} else {
			for i := range row {
				row[i] = src[off+i*step]
			}
		}
		for k := last - 1; k >= 0; k-- {
			if at[k]++; at[k] < v.dims[k] {
				off += v.strides[k]
				break
			}
			at[k] = 0
			off -= (v.dims[k] - 1) * v.strides[k]
		}
	}
	return nil
}

// mean is ReduceMean of float32 over axes that stand side by side; the sums are
// in float64. It allocates nothing.
type mean struct {
	inner     op.Op
	from, to  int // the axes
	scratches sync.Pool
}

func (o *mean) Infer(in []graph.Fact, n int) ([]graph.Fact, error) {
	return o.inner.Infer(in[:1:1], n)
}

func (o *mean) Forward(_ *op.Ctx, in, out []tensor.Value) error {
	shape := in[0].Tensor.Shape()
	n, inner := product(shape[o.from:o.to]), product(shape[o.to:])
	x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	scratch, _ := o.scratches.Get().(*[]float64)
	if scratch == nil {
		scratch = new([]float64)
	}
	if len(*scratch) < inner {
		*scratch = make([]float64, inner)
	}
	sums := (*scratch)[:inner]
	for len(y) > 0 {
		clear(sums)
		for range n {
			for i, v := range x[:inner] {
				sums[i] += float64(v)
			}
			x = x[inner:]
		}
		for i, s := range sums {
			y[i] = float32(s / float64(n))
		}
		y = y[inner:]
	}
	o.scratches.Put(scratch)
	return nil
}

// movement replaces nodes that are left of float32 Transpose and ReduceMean by
// forms that allocate nothing.
func (l *lowerer) movement() error {
	for _, n := range l.order {
		if l.gone[n] || l.isConstant(n) || len(n.Outputs()) != 1 || !l.isFloats(n.Input(0)) {
			continue
		}
		rank := len(l.facts.Of(n.Input(0)).Shape)
		switch {
		case l.is(n, "Transpose") && rank <= maxAxes:
			o := &permute{l.op(n), []viewStep{{perm: permOf(n, rank)}}}
			if _, err := l.replace(n, n.OpType, o, n.Inputs()); err != nil {
				return err
			}
		case l.is(n, "ReduceMean") && n.Input(1) == nil:
			axes, ok := l.ints(n, 1, "axes")
			for i, a := range axes {
				if a < 0 {
					axes[i] += rank
				}
			}
			slices.Sort(axes)
			if !ok || len(axes) == 0 || axes[len(axes)-1]-axes[0] != len(axes)-1 || axes[len(axes)-1] >= rank || axes[len(axes)-1] == rank-1 {
				continue // rows are the operator's own: it has vectors for them
			}
			o := &mean{inner: l.op(n), from: axes[0], to: axes[0] + len(axes)}
			if _, err := l.replace(n, n.OpType, o, n.Inputs()[:1]); err != nil {
				return err
			}
		}
	}
	return nil
}
