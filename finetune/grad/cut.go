package grad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A part says which of a batch's parts a state is.
type part struct {
	number, of int            // of 0: the state is no part
	lo, hi     int            // rows
	in, dout   []tensor.Value // views of the batch's
}

// A cut is a batch in parts, which run beside one another.
type cut struct {
	s     *State // the batch
	n     int    // its rows
	parts []*State
	errs  []error // by part
	in    []tensor.Value
	dout  []tensor.Value
	ctx   context.Context
	take  func(i, at int, g *tensor.Tensor) error
	ended atomic.Bool // by an error of take

	pieces                   []piece          // of all gradients; nil before the first way back
	forwardFn, backFn, sumFn func(lo, hi int) // methods, bound once
}

// split makes parts of a state for a batch of in, where it is to have some.
func (s *State) split(in []tensor.Value) {
	r := s.p.rows
	if r == nil {
		return
	}
	parts, n := r.parts(in)
	if parts < 2 {
		return
	}
	c := &cut{s: s, n: n, errs: make([]error, parts)}
	for q := range parts {
		t := s.p.newState(s.run)
		t.ctx.Pool, t.ctx.Part = nil, true
		t.part = part{number: q, of: parts, lo: q * n / parts, hi: (q + 1) * n / parts, in: make([]tensor.Value, len(in)), dout: make([]tensor.Value, len(s.p.outputs))}
		c.parts = append(c.parts, t)
	}
	c.forwardFn, c.backFn, c.sumFn = c.forwardParts, c.backParts, c.sum
	s.cut = c
}

// rowsOf makes *v a view of a part's rows of t, which has n runs of rows.
func (q *part) rowsOf(v *tensor.Value, t *tensor.Tensor, n int) error {
	shape := t.Shape()
	rows := shape[0] / n * (q.hi - q.lo)
	if h := v.Tensor; h == nil || h.DType() != t.DType() || h.Shape()[0] != rows || !slices.Equal(h.Shape()[1:], shape[1:]) {
		shape = slices.Clone(shape)
		shape[0] = rows
		*v = tensor.ValueOf(tensor.New(t.DType(), shape...))
	}
	return v.Tensor.SeeFrom(t, t.Len()/n*q.lo)
}

// forward is Forward.
func (c *cut) forward(ctx context.Context, in []tensor.Value) error {
	c.s.bind(in)
	c.in, c.ctx = in, ctx
	c.s.ctx.Pool.For(len(c.parts), 1, c.forwardFn)
	c.in, c.ctx = nil, nil
	if err := c.failed(); err != nil {
		return err
	}
	return c.gather()
}

// failed is the first part's error.
func (c *cut) failed() error {
	for _, err := range c.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// forwardParts runs the parts lo … hi-1.
func (c *cut) forwardParts(lo, hi int) {
	r := c.s.p.rows
	for i := lo; i < hi; i++ {
		t := c.parts[i]
		t.again(c.s.run)
		var err error
		for j, v := range c.in {
			if r.has[c.s.p.slots[c.s.p.inputs[j]]] {
				err = errors.Join(err, t.part.rowsOf(&t.part.in[j], v.Tensor, c.n))
			} else {
				t.part.in[j] = v
			}
		}
		if err == nil {
			err = t.through(c.ctx, t.part.in)
		}
		c.errs[i] = err
	}
}

// gather puts together what was asked for.
func (c *cut) gather() error {
	for _, k := range c.s.p.rows.asked {
		whole := &c.s.values[k]
		if whole.Tensor == nil {
			x := c.parts[0].values[k].Tensor
			shape := slices.Clone(x.Shape())
			shape[0] = 0
			for _, t := range c.parts {
				shape[0] += t.values[k].Tensor.Shape()[0]
			}
			*whole = tensor.ValueOf(tensor.New(x.DType(), shape...))
		}
		to := whole.Tensor.Bytes()
		for _, t := range c.parts {
			to = to[copy(to, t.values[k].Tensor.Bytes()):]
		}
	}
	return nil
}

// back is Backward, or BackwardEach.
func (c *cut) back(ctx context.Context, dout []tensor.Value, take func(i, at int, g *tensor.Tensor) error) error {
	p := c.s.p
	clear(c.s.grads)
	if len(dout) > len(p.outputs) {
		return fmt.Errorf("found gradients of %d outputs, wanted %d", len(dout), len(p.outputs))
	}
	for i, v := range dout {
		if y := c.s.values[p.outputs[i]]; v.Kind != tensor.KindNone && !alike(v, y) {
			return fmt.Errorf("gradient of output %d is %v, the output is %v", i, describe(v), describe(y))
		}
	}
	c.dout, c.ctx = dout, ctx
	c.s.ctx.Pool.For(len(c.parts), 1, c.backFn)
	c.dout, c.ctx = nil, nil
	if err := c.failed(); err != nil {
		return err
	}
	if c.pieces == nil {
		c.pieces = c.cutSums()
	}
	c.take = take
	c.ended.Store(false)
	c.s.ctx.Pool.For(len(c.pieces), 1, c.sumFn)
	c.take = nil
	for i := range c.pieces {
		if err := c.pieces[i].err; err != nil {
			return err
		}
	}
	for k, wanted := range p.wrt {
		if take == nil && wanted && p.carries[k] {
			c.s.grads[k] = c.parts[0].grads[k]
		}
	}
	return nil
}

// A piece is some of the elements of a gradient, which one thread adds up and hands
// over.
type piece struct {
	want want
	at   int            // of the gradient, the first
	sums [][]float32    // by part
	wide [][]float64    // the same in float64
	g    *tensor.Tensor // the first part's
	err  error
}

// pieceSize is the elements of a piece.
const pieceSize = 1 << 13

// cutSums cuts all gradients in pieces.
func (c *cut) cutSums() []piece {
	var pieces []piece
	add := func(w want) {
		n := c.parts[0].loans[w.slot].t.Len()
		for at := 0; at < n; at += pieceSize {
			f := piece{want: w, at: at}
			m := min(pieceSize, n-at)
			for q, t := range c.parts {
				x := t.loans[w.slot].t
				if x.DType() == tensor.Float64 {
					f.wide = append(f.wide, tensor.Data[float64](x)[at:at+m])
				} else {
					f.sums = append(f.sums, tensor.Data[float32](x)[at:at+m])
				}
				if q == 0 {
					f.g = tensor.New(x.DType(), m)
					f.err = f.g.SeeFrom(x, at)
				}
			}
			pieces = append(pieces, f)
		}
	}
	for i := range slices.Backward(c.s.p.steps) {
		for _, w := range c.s.p.whole[i] {
			add(w)
		}
	}
	for _, w := range c.s.p.rest {
		add(w)
	}
	return pieces
}

// sum adds up the pieces lo … hi-1, in the memory of the first part, and hands them
// over.
func (c *cut) sum(lo, hi int) {
	for i := lo; i < hi; i++ {
		f := &c.pieces[i]
		if f.err = nil; c.ended.Load() {
			return
		}
		for q := 1; q < len(f.sums); q++ {
			kernel.Axpy32(nil, f.sums[0], 1, f.sums[q])
		}
		for q := 1; q < len(f.wide); q++ {
			addTo(f.wide[0], f.wide[q])
		}
		if c.take != nil {
			if f.err = c.take(f.want.place, f.at, f.g); f.err != nil {
				c.ended.Store(true)
			}
		}
	}
}

// backParts takes the parts lo … hi-1 back.
func (c *cut) backParts(lo, hi int) {
	p := c.s.p
	for i := lo; i < hi; i++ {
		t := c.parts[i]
		var err error
		for j, v := range c.dout {
			switch {
			case v.Kind == tensor.KindNone:
				t.part.dout[j] = v
			case p.rows.has[p.outputs[j]]:
				err = errors.Join(err, t.part.rowsOf(&t.part.dout[j], v.Tensor, c.n))
			default: // a constant that is an output: it counts once
				t.part.dout[j] = v
				if i > 0 {
					t.part.dout[j] = tensor.Value{}
				}
			}
		}
		if err == nil {
			err = t.back(c.ctx, t.part.dout[:len(c.dout)], nil)
		}
		c.errs[i] = err
	}
}

// own gives each gradient of a part memory of its own.
func (s *State) own() {
	s.loans = make([]*buffer, len(s.p.slots))
	for k, wanted := range s.p.wrt {
		if wanted && s.p.carries[k] {
			x := s.values[k].Tensor
			s.loans[k] = &buffer{tensor.New(x.DType(), x.Len()), 1}
		}
	}
}
