package grad

import (
	"context"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Backward computes the gradients of Σ_i ⟨dout[i], out[i]⟩, where out is
// Outputs; the zero Value (or the end of dout) stands for a gradient of zero.
// It may be called again with other gradients: each call starts anew, and the
// tensors that Grad gave out before are no longer valid. dout is neither
// changed nor kept.
func (s *State) Backward(ctx context.Context, dout []tensor.Value) error {
	p := s.p
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
			return fmt.Errorf("gradient of output %d is %v, the output is %v", i, v.Tensor, s.values[k].Tensor)
		}
		if !p.carries[k] {
			continue
		}
		if err := s.add(k, v); err != nil {
			return err
		}
	}
	for i := range slices.Backward(p.steps) {
		if p.steps[i].back == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.backward(i); err != nil {
			return fmt.Errorf("gradient of %v: %w", p.steps[i].node, err)
		}
	}
	// No gradient came by a path: it is zero.
	for k, carries := range p.carries {
		if carries && p.wrt[k] && s.grads[k] == nil {
			if err := s.gradient(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds v to the gradient of slot k.
func (s *State) add(k int, v tensor.Value) error {
	if s.grads[k] == nil {
		if err := s.gradient(k); err != nil {
			return err
		}
		return s.grads[k].CopyFrom(v.Tensor)
	}
	// An output that is listed twice.
	switch v.Tensor.DType() {
	case tensor.Float32:
		addTo(tensor.Data[float32](s.grads[k]), tensor.Data[float32](v.Tensor))
	case tensor.Float64:
		addTo(tensor.Data[float64](s.grads[k]), tensor.Data[float64](v.Tensor))
	}
	return nil
}

func addTo[T float32 | float64](y, x []T) {
	for i, v := range x {
		y[i] += v
	}
}

// backward runs the i-th step backwards.
func (s *State) backward(i int) error {
	st, m := &s.p.steps[i], &s.made[i]
	dout, din := make([]tensor.Value, len(st.out)), make([]tensor.Value, len(st.in))
	some := false
	for j, k := range st.out {
		if k >= 0 {
			dout[j] = tensor.ValueOf(s.grads[k])
			some = some || s.grads[k] != nil
		}
	}
	if !some {
		return nil
	}
	if m.view && s.pass(st) {
		return nil
	}
	for j, k := range st.in {
		if k < 0 || !s.p.carries[k] {
			continue
		}
		if s.grads[k] == nil {
			if err := s.gradient(k); err != nil {
				return err
			}
		}
		din[j] = tensor.ValueOf(s.grads[k])
	}
	if err := st.back.Backward(&s.ctx, m.in, m.out, dout, din); err != nil {
		return err
	}
	for _, k := range st.out {
		if k >= 0 && !s.p.wrt[k] {
			s.drop(k)
		}
	}
	return nil
}

// pass hands the gradient of a view, whose elements are those of its input,
// on to the input; it does not where either of them still needs its own.
func (s *State) pass(st *step) bool {
	from, to := st.out[0], st.in[0]
	if s.p.wrt[from] || s.grads[to] != nil || !s.p.carries[to] || slices.Contains(st.in[1:], to) {
		return false
	}
	g, err := s.grads[from].Reshaped(s.values[to].Tensor.Shape()...)
	if err != nil || g.DType() != s.values[to].Tensor.DType() {
		return false
	}
	s.grads[from], s.grads[to] = nil, g
	return true
}

// gradient gives slot k a gradient of zeros.
func (s *State) gradient(k int) error {
	x := s.values[k].Tensor
	if x == nil {
		return fmt.Errorf("the gradient of a %v is not defined", s.values[k].Kind)
	}
	size := len(x.Bytes())
	spare := s.spare[size]
	if len(spare) == 0 {
		s.grads[k] = tensor.New(x.DType(), x.Shape()...)
		return nil
	}
	b := spare[len(spare)-1].Bytes()
	s.spare[size] = spare[:len(spare)-1]
	clear(b)
	var err error
	s.grads[k], err = tensor.FromBytes(x.DType(), x.Shape(), b)
	return err
}

// drop keeps the memory of slot k's gradient for others.
func (s *State) drop(k int) {
	if g := s.grads[k]; g != nil {
		s.spare[len(g.Bytes())] = append(s.spare[len(g.Bytes())], g)
		s.grads[k] = nil
	}
}

// Grad is the gradient by v, a value of Options.Wrt, that the last Backward
// computed; nil where no path leads from v to an output. It is valid until the
// next Backward or Release.
func (s *State) Grad(v *graph.Value) *tensor.Tensor {
	if k, ok := s.p.slots[v]; ok && s.p.wrt[k] {
		return s.grads[k]
	}
	return nil
}
