package runtime

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// bilinear is Y[… m1·m2] = X[… n1·n2]·Wᵀ for W = Σ_r A_r ⊗ B_r, with an ending
// and a pointwise program over Y as linear has them.
type bilinear struct {
	w    *kronecker
	end  ending
	tail *program
}

// A kronecker is the constant factors of Σ_r A_r ⊗ B_r, packed when they are
// first needed, once for all plans.
type kronecker struct {
	dims
	a, b     *tensor.Tensor
	mu       sync.Mutex
	prepared atomic.Pointer[kernel.PackedBilinear32]
}

// dims is the form of a sum of Kronecker products: A_r is m1×n1, B_r m2×n2.
type dims struct {
	n1, n2, m1, m2, terms int
	a, b                  factor
}

// A factor says where element (i, j) of term r is in a tensor: at r·term +
// i·row + j·col.
type factor struct{ term, row, col int }

func (f factor) in(t *tensor.Tensor) kernel.Factor32 {
	return kernel.Factor32{Data: tensor.Data[float32](t), Term: f.term, Row: f.row, Col: f.col}
}

// packed is the packed factors; see weight.packed.
func (w *kronecker) packed() (*kernel.PackedBilinear32, error) {
	if p := w.prepared.Load(); p != nil {
		return p, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.prepared.Load(); p != nil {
		return p, nil
	}
	p := kernel.PackBilinear32(w.n1, w.n2, w.m1, w.m2, w.terms, w.dims.a.in(w.a), w.dims.b.in(w.b))
	for _, t := range []*tensor.Tensor{w.a, w.b} {
		if err := file.Check(t.Bytes()); err != nil {
			return nil, err
		}
		file.GiveBack(t.Bytes())
	}
	w.prepared.Store(p)
	return p, nil
}

func (o *bilinear) withTail(e ending, tail *program) op.Op {
	return &bilinear{w: o.w, end: e, tail: tail}
}

func (o *bilinear) ends() (adds, functions bool) { return true, true }

func (o *bilinear) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	x := in[0]
	if x.DType != tensor.Float32 || !x.Ranked || len(x.Shape) == 0 {
		return nil, fmt.Errorf("found %v, wanted float32 of rank 1 or more", x.Type)
	}
	last := len(x.Shape) - 1
	if n, ok := x.Shape[last].Const(); ok && n != o.w.n1*o.w.n2 {
		return nil, fmt.Errorf("found %v, wanted rows of %d·%d elements", x.Type, o.w.n1, o.w.n2)
	}
	shape := slices.Clone(x.Shape)
	shape[last] = graph.Size(o.w.m1 * o.w.m2)
	out := graph.TensorType(tensor.Float32, shape...)
	return []graph.Fact{{Type: out}}, checkOperands(out, in[1:])
}

func (o *bilinear) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	if len(y) == 0 {
		return nil
	}
	w, err := o.w.packed()
	if err != nil {
		return err
	}
	nx, ny := w.Dims()
	w.Mul(ctx.Pool, len(y)/ny, x, nx, y, ny, o.end.epilogue(in[1:], ny))
	if o.tail != nil {
		o.tail.run(ctx, y, y, 0, len(y), out[0].Tensor.Shape(), in[1:])
	}
	return nil
}
