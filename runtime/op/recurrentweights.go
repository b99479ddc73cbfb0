package op

import (
	"slices"
	"sync"
	"sync/atomic"

	"bilinc/runtime/file"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A weightMatrix multiplies by a weight W[n k] of a recurrent layer, whose rows it has in an order of its own.
type weightMatrix[T float] interface {
	// all computes C[m n] = A[m k]·Wᵀ + bias, which may be nil.
	all(p *kernel.Pool, m int, a, c, bias []T)
	// some computes columns j0 to j1 of C = From + A·Wᵀ, as kernel.GemmPanels32 does.
	some(m int, a []T, lda, j0, j1 int, c []T, ldc int, from []T, ldf int)
}

// packedRows is W packed.
type packedRows struct{ packed *kernel.Packed32 }

func packRows(k int, w []float32, order []int) weightMatrix[float32] {
	var part []float32
	packed, _ := kernel.PackColumns32(k, len(order), kernel.PanelColumns, func(j0, j1 int) ([]float32, int, int, error) {
		if order[j1-1] == order[j0]+j1-j0-1 { // each gate's rows rise, so these follow on each other
			return w[order[j0]*k:], 1, k, nil
		}
		part = part[:0]
		for _, j := range order[j0:j1] {
			part = append(part, w[j*k:(j+1)*k]...)
		}
		return part, 1, k, nil
	})
	return &packedRows{packed}
}

func (w *packedRows) all(p *kernel.Pool, m int, a, c, bias []float32) {
	k, n := w.packed.Dims()
	kernel.GemmFused32(p, m, a, k, 1, w.packed, c, n, kernel.Epilogue32{Bias: bias})
}

func (w *packedRows) some(m int, a []float32, lda, j0, j1 int, c []float32, ldc int, from []float32, ldf int) {
	kernel.GemmPanels32(m, a, lda, w.packed, j0, j1, c, ldc, from, ldf)
}

// wideRows is W as it is, in its own order.
type wideRows struct {
	n, k int
	w    []float64
}

func plainRows(k int, w []float64, order []int) weightMatrix[float64] {
	n := len(order)
	if n > 0 {
		w = w[order[0]*k:]
	}
	return &wideRows{n, k, w}
}

func (w *wideRows) all(p *kernel.Pool, m int, a, c, bias []float64) {
	for i := 0; i < m && bias != nil; i++ {
		copy(c[i*w.n:(i+1)*w.n], bias)
	}
	kernel.Gemm64(p, m, w.n, w.k, a, w.k, 1, w.w, 1, w.k, c, w.n, bias != nil)
}

func (w *wideRows) some(m int, a []float64, lda, j0, j1 int, c []float64, ldc int, from []float64, ldf int) {
	for i := 0; i < m && ldf != ldc; i++ {
		copy(c[i*ldc:i*ldc+j1-j0], from[i*ldf:])
	}
	kernel.Gemm64(nil, m, j1-j0, w.k, a, lda, 1, w.w[j0*w.k:], 1, w.k, c, ldc, true)
}

// A recurrentWay is the weights of a direction. The gates of some units lie together, in the order of W, then those of
// the next units; the candidates of a GRU come after all others.
type recurrentWay[T float] struct {
	act         []gateFunction
	input, back weightMatrix[T] // W, and R or its first gates
	candidate   weightMatrix[T] // GRU: R of the last gate
	bias        []T             // what X·Wᵀ begins with: nil, or one for each gate's element
	inner       []T             // GRU that resets late: the last gate's bias within the reset
	peep        []T             // nil where left out
	usual       bool            // the kernels have the cell
}

// together is how many gates of a unit lie together.
func (o *recurrent) together() int {
	if o.name == "GRU" {
		return 2
	}
	return o.gates
}

// order is the rows of W, so many units' gates together.
func (o *recurrent) order(hidden, unit int) []int {
	order := make([]int, 0, o.gates*hidden)
	for u := 0; u < hidden; u += unit {
		for g := range o.together() {
			for k := u; k < min(hidden, u+unit); k++ {
				order = append(order, g*hidden+k)
			}
		}
	}
	for k := len(order); k < o.gates*hidden; k++ {
		order = append(order, k)
	}
	return order
}

// way makes the weights of direction d of w[D G·H I], u[D G·H H], b[D 2·G·H] and peep[D 3·H], and returns what lays
// them out, in any order.
func (r *recurrentRun[T]) way(way *recurrentWay[T], d int, w, u, b, peep []T) (lay []func()) {
	o, hidden, rows := r.o, r.hidden, r.o.gates*r.hidden
	w, u = w[d*rows*r.width:(d+1)*rows*r.width], u[d*rows*hidden:(d+1)*rows*hidden]
	uses := len(o.activations) / o.directions
	way.act = o.activations[d*uses : (d+1)*uses]
	order := o.order(hidden, r.unit)
	first := o.together() * hidden
	lay = append(lay, func() { way.back = r.matrix(hidden, u, order[:first]) }, func() { way.input = r.matrix(r.width, w, order) })
	if o.name == "GRU" {
		lay = append(lay, func() { way.candidate = r.matrix(hidden, u, order[first:]) })
		way.inner = make([]T, hidden)
	}
	if b != nil {
		wb, ub := b[d*2*rows:d*2*rows+rows], b[d*2*rows+rows:(d+1)*2*rows]
		way.bias = make([]T, rows)
		for i, k := range order {
			way.bias[i] = wb[k] + ub[k]
		}
		if o.name == "GRU" && o.linearBefore {
			copy(way.bias[2*hidden:], wb[2*hidden:])
			copy(way.inner, ub[2*hidden:])
		}
	}
	if peep != nil {
		way.peep = slices.Clone(peep[d*3*hidden : (d+1)*3*hidden])
	}
	way.usual = r.cells != nil && o.clip == 0 && !o.inputForget && peep == nil && o.usual(way.act)
	return lay
}

// usual reports whether the gates' functions are those that the kernels' cells have.
func (o *recurrent) usual(act []gateFunction) bool {
	if o.name == "RNN" {
		return act[0].vector != kernel.Identity
	}
	ok := act[0].vector == kernel.Sigmoid
	for _, f := range act[1:] {
		ok = ok && f.vector == kernel.Tanh
	}
	return ok
}

// recurrentWeights are the weights of a layer in which they are the same in every run, once they are laid out.
type recurrentWeights[T float] struct {
	mu   sync.Mutex
	laid atomic.Pointer[[]recurrentWay[T]]
}

// ways is the weights of each direction, from the inputs of r; a nil k keeps none.
func (k *recurrentWeights[T]) ways(p *kernel.Pool, r *recurrentRun[T], in []tensor.Value) ([]recurrentWay[T], error) {
	if k == nil {
		return r.lay(p, in), nil
	}
	if have := k.laid.Load(); have != nil {
		return *have, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if have := k.laid.Load(); have != nil {
		return *have, nil
	}
	ways := r.lay(p, in)
	for _, t := range in[1:3] { // their pages, where they lie in a mapped file, are not read again
		if err := file.Check(t.Tensor.Bytes()); err != nil {
			return nil, err
		}
		file.GiveBack(t.Tensor.Bytes())
	}
	k.laid.Store(&ways)
	return ways, nil
}

// lay lays out the weights of all directions.
func (r *recurrentRun[T]) lay(p *kernel.Pool, in []tensor.Value) []recurrentWay[T] {
	data := func(i int) []T {
		if t := optional(in, i); t != nil {
			return tensor.Data[T](t)
		}
		return nil
	}
	ways := make([]recurrentWay[T], r.o.directions)
	var lay []func()
	for d := range ways {
		lay = append(lay, r.way(&ways[d], d, data(1), data(2), data(3), data(7))...)
	}
	p.For(len(lay), 1, func(lo, _ int) { lay[lo]() })
	return ways
}

// keptRecurrent is a layer whose weights are the same in every run.
type keptRecurrent struct {
	*recurrent
	weights recurrentWeights[float32]
}

// Keeping keeps the weights in float32, biases and peepholes with them.
func (o *recurrent) Keeping(same []bool) Op {
	for i, is := range same {
		if (i == 1 || i == 2 || i == 3 || i == 7) && !is {
			return nil
		}
	}
	return &keptRecurrent{recurrent: o}
}

func (o *keptRecurrent) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch in[0].Tensor.DType() {
	case tensor.Float32:
		return runRecurrent(ctx, o.recurrent, in, out, &recurrent32, &o.weights)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return o.recurrent.Forward(ctx, in, out)
}
