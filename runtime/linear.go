package runtime

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// linear is Y[… n] = X[… k]·W[k n] for a constant W of float32, with an ending,
// followed by a pointwise program over Y where one was fused: their operands
// are the node's inputs from the second on.
type linear struct {
	w    *weight
	end  ending
	tail *program
}

func (o *linear) withTail(e ending, tail *program) op.Op {
	return &linear{w: o.w, end: e, tail: tail}
}

func (o *linear) ends() (adds, functions bool) { return true, true }

func (o *linear) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	x := in[0]
	if x.DType != tensor.Float32 || !x.Ranked || len(x.Shape) == 0 {
		return nil, fmt.Errorf("found %v, wanted float32 of rank 1 or more", x.Type)
	}
	last := len(x.Shape) - 1
	if k, ok := x.Shape[last].Const(); ok && k != o.w.k {
		return nil, fmt.Errorf("A%s and B[%d %d] do not multiply", graph.FormatShape(x.Shape, true), o.w.k, o.w.n)
	}
	shape := slices.Clone(x.Shape)
	shape[last] = graph.Size(o.w.n)
	out := graph.TensorType(tensor.Float32, shape...)
	if err := checkOperands(out, in[1:]); err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: out}}, nil
}

// linearBytes is how much of Y is multiplied before the program goes over it:
// what stays in the second-level cache.
const linearBytes = 256 << 10

func (o *linear) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	n, k := o.w.n, o.w.k
	if len(y) == 0 {
		return nil
	}
	m := len(y) / n
	e := o.end.epilogue(in[1:], n)
	if o.tail == nil {
		return o.w.product(ctx.Pool, m, x, y, e)
	}
	rows := m
	if ctx.Pool.Threads() == 1 {
		rows = min(m, max(linearRows, linearBytes/(4*n)/linearRows*linearRows))
	}
	add := e.Add
	for lo := 0; lo < m; lo += rows {
		hi := min(m, lo+rows)
		if add != nil {
			e.Add = add[lo*n:]
		}
		if err := o.w.product(ctx.Pool, hi-lo, x[lo*k:hi*k], y[lo*n:hi*n], e); err != nil {
			return err
		}
		o.tail.run(ctx, y, y, lo*n, hi*n, out[0].Tensor.Shape(), in[1:])
	}
	return nil
}

// linearRows is a multiple of every tile's height.
const linearRows = 120
