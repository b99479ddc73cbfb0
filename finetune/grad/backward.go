package grad

import (
	"context"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A gradient is that of one slot; nil where none has come yet.
type gradient struct {
	buf  *buffer
	head *tensor.Tensor // buf in the value's shape; kept for the next run
}

// tensor is the gradient as an argument of Backward.
func (g *gradient) tensor() *tensor.Tensor {
	if g.buf == nil {
		return nil
	}
	return g.head
}

// Backward computes the gradients of Σ_i ⟨dout[i], out[i]⟩, where out is
// Outputs; the zero Value (or the end of dout) stands for a gradient of zero.
// It may be called again with other gradients: each call starts anew, and the
// tensors that Grad gave out before are no longer valid. dout is neither
// changed nor kept.
func (s *State) Backward(ctx context.Context, dout []tensor.Value) error {
	return s.back(ctx, dout, nil)
}

// BackwardEach is Backward for whoever needs each element of a gradient once: it calls
// take with the gradients of Options.Wrt in pieces, g being the elements from the at-th
// on, in order, of the one at place i there, as soon as they are whole, and takes their
// memory back when take returns. Nothing that comes later reads the same elements of
// the value, so that take may change them: an optimiser finds the gradient where it has
// just been written, in a cache. Pieces come in any order, several at a time perhaps
// from as many goroutines; those of values that are no constants come last. Grad gives
// out nothing afterwards.
func (s *State) BackwardEach(ctx context.Context, dout []tensor.Value, take func(i, at int, g *tensor.Tensor) error) error {
	return s.back(ctx, dout, take)
}

func (s *State) back(ctx context.Context, dout []tensor.Value, take func(i, at int, g *tensor.Tensor) error) error {
	p := s.p
	if s.cut != nil {
		return s.cut.back(ctx, dout, take)
	}
	switch s.borrow = take != nil || s.part.of > 0; {
	case s.loans != nil || !s.borrow:
	case s.part.of > 0:
		s.own()
	default:
		s.lend()
	}
	if len(dout) > len(p.outputs) {
		return fmt.Errorf("found gradients of %d outputs, wanted %d", len(dout), len(p.outputs))
	}
	for k := range s.grads {
		s.drop(k)
	}
	for i, v := range dout {
		k := p.outputs[i]
		if v.Kind == tensor.KindNone {
			continue
		}
		if !alike(v, s.values[k]) {
			return fmt.Errorf("gradient of output %d is %v, the output is %v", i, describe(v), describe(s.values[k]))
		}
		if !p.carries[k] {
			continue
		}
		if err := s.seed(k, v.Tensor); err != nil {
			return err
		}
	}
	for i := range slices.Backward(p.steps) {
		given := -1
		if p.steps[i].back != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if given, err = s.backward(i, take); err != nil {
				return fmt.Errorf("gradient of %v: %w", p.steps[i].node, err)
			}
		}
		if take == nil {
			continue
		}
		for _, w := range p.whole[i] {
			if w.slot == given {
				continue
			}
			if err := s.give(w, take); err != nil {
				return err
			}
		}
	}
	if take != nil {
		for _, w := range p.rest {
			if err := s.give(w, take); err != nil {
				return err
			}
		}
		return nil
	}
	for k, wanted := range p.wrt {
		if wanted && p.carries[k] {
			if err := s.begin(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// give calls take with a gradient that is whole, and takes its memory back.
func (s *State) give(w want, take func(i, at int, g *tensor.Tensor) error) error {
	if err := s.begin(w.slot); err != nil {
		return err
	}
	if err := take(w.place, 0, s.grads[w.slot].head); err != nil {
		return err
	}
	s.drop(w.slot)
	return nil
}

func describe(v tensor.Value) string {
	if v.Kind == tensor.KindTensor {
		return v.Tensor.String()
	}
	return v.Kind.String()
}

// seed adds t, of an output's type, to the gradient of slot k: an output may be
// listed twice.
func (s *State) seed(k int, t *tensor.Tensor) error {
	if err := s.begin(k); err != nil {
		return err
	}
	if t.DType() == tensor.Float64 {
		addTo(tensor.Data[float64](s.grads[k].head), tensor.Data[float64](t))
	} else {
		addTo(tensor.Data[float32](s.grads[k].head), tensor.Data[float32](t))
	}
	return nil
}

func addTo[T float32 | float64](y, x []T) {
	for i, v := range x {
		y[i] += v
	}
}

// begin gives slot k a gradient of zeros where it has none.
func (s *State) begin(k int) error {
	if s.grads[k].buf != nil {
		return nil
	}
	if err := s.place(k); err != nil {
		return err
	}
	clear(s.grads[k].buf.t.Bytes())
	return nil
}

// place gives slot k memory for a gradient, with anything in it, where it has
// none, and makes it a tensor of the value's type.
func (s *State) place(k int) error {
	g, x := &s.grads[k], s.values[k]
	if x.Kind != tensor.KindTensor || x.Tensor.DType() != tensor.Float32 && x.Tensor.DType() != tensor.Float64 {
		return fmt.Errorf("%s has no gradient", describe(x))
	}
	switch {
	case g.buf != nil:
	case s.borrow && s.loans[k] != nil:
		g.buf = s.loans[k]
	default:
		g.buf = s.mem.take(x.Tensor.DType(), x.Tensor.Len())
	}
	return g.show(x.Tensor)
}

// hands reports whether the first input's gradient may have the memory of the
// first output's: where that is nobody else's and not asked for.
func (s *State) hands(st *step) bool {
	if !st.inPlace || st.out[0] < 0 {
		return false
	}
	from, y, x := &s.grads[st.out[0]], s.values[st.out[0]].Tensor, s.values[st.in[0]].Tensor
	return from.buf != nil && !s.p.wrt[st.out[0]] && x.DType() == y.DType() && slices.Equal(x.Shape(), y.Shape())
}

// show makes head a view of buf in the type of x.
func (g *gradient) show(x *tensor.Tensor) error {
	return show(&g.head, g.buf.t, x.DType(), x.Shape())
}

// show makes *head a tensor of the given type over the elements of t, the same
// one as before where its type is.
func show(head **tensor.Tensor, t *tensor.Tensor, d tensor.DType, shape []int) (err error) {
	if h := *head; h != nil && h.DType() == d && slices.Equal(h.Shape(), shape) {
		return h.See(t)
	}
	*head, err = t.Reshaped(shape...)
	return err
}

// drop gives back the memory of slot k's gradient.
func (s *State) drop(k int) {
	g := &s.grads[k]
	if s.loans != nil && g.buf == s.loans[k] {
		g.buf = nil
		return
	}
	g.buf = s.mem.release(g.buf)
}

// backward runs the i-th step backwards. Where take is there to be given a gradient in
// pieces, its slot is returned, else −1.
func (s *State) backward(i int, take func(i, at int, g *tensor.Tensor) error) (given int, err error) {
	st, m := &s.p.steps[i], &s.steps[i]
	if m.dout == nil {
		m.dout, m.din, m.fresh = make([]tensor.Value, len(st.out)), make([]tensor.Value, len(st.in)), make([]bool, len(st.in))
	}
	some := false
	for j, k := range st.out {
		if k >= 0 {
			m.dout[j] = tensor.ValueOf(s.grads[k].tensor())
			some = some || s.grads[k].buf != nil
		}
	}
	if !some {
		return -1, nil
	}
	if m.view {
		if passed, err := s.pass(st); passed || err != nil {
			return -1, err
		}
	}
	clear(m.fresh)
	given = -1
	if take != nil && st.pieces != nil && s.grads[st.in[1]].buf == nil && st.pieces.InPieces(m.in, m.dout) {
		given = st.in[1]
	}
	for j, k := range st.in {
		if k < 0 || !s.p.carries[k] {
			continue
		}
		if k == given {
			m.din[j] = tensor.Value{}
			continue
		}
		switch {
		case st.into == nil || s.grads[k].buf != nil || slices.Contains(st.in[j+1:], k):
			// Added to, by this step or by one before.
			if err := s.begin(k); err != nil {
				return -1, err
			}
		case j == 0 && s.hands(st):
			from, to := &s.grads[st.out[0]], &s.grads[k]
			from.buf, to.buf = nil, from.buf
			fallthrough
		default:
			m.fresh[j] = true
			if err := s.place(k); err != nil {
				return -1, err
			}
		}
		m.din[j] = tensor.ValueOf(s.grads[k].head)
	}
	s.seedStep(st)
	switch {
	case given >= 0:
		err = s.inPieces(i, take)
	case st.into != nil:
		err = st.into.BackwardInto(&s.ctx, m.in, m.out, m.dout, m.din, m.fresh)
	default:
		err = st.back.Backward(&s.ctx, m.in, m.out, m.dout, m.din)
	}
	if err != nil {
		return given, err
	}
	for _, k := range st.out {
		if k >= 0 && !s.p.wrt[k] {
			s.drop(k)
		}
	}
	return given, nil
}

// pass hands the gradient of a view, whose elements are those of its input,
// on to the input; it does not where either of them needs one of its own.
func (s *State) pass(st *step) (bool, error) {
	from, to := &s.grads[st.out[0]], &s.grads[st.in[0]]
	if s.p.wrt[st.out[0]] || from.buf == nil || to.buf != nil || !s.p.carries[st.in[0]] {
		return false, nil
	}
	from.buf, to.buf = nil, from.buf
	return true, to.show(s.values[st.in[0]].Tensor)
}

// Grad is the gradient by v, a value of Options.Wrt, that the last Backward
// computed; nil where no path leads from v to an output. It is valid until the
// next Backward or Release.
func (s *State) Grad(v *graph.Value) *tensor.Tensor {
	if k, ok := s.p.slots[v]; ok && s.p.wrt[k] {
		return s.grads[k].tensor()
	}
	return nil
}
