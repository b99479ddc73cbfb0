package grad

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A State is one forward run with all its activations. It is for one
// goroutine at a time.
type State struct {
	p      *Program
	ctx    op.Ctx
	pcg    *rand.PCG
	values []tensor.Value // by slot
	made   []made         // by step
	grads  []*tensor.Tensor
	spare  map[int][]*tensor.Tensor // gradients no longer needed, by bytes
}

// made is what a state keeps of a step for the next run: its outputs' memory
// and the types of inputs that these are for.
type made struct {
	in, out []tensor.Value // arguments of the step, in the last run
	fixed   bool           // the outputs' types follow from those of the inputs
	view    bool           // the first output shares the first input's elements
}

// Forward runs the model on in, the values of Inputs in order, and keeps what
// the gradients need; in must not change until the state is done with. The
// error is a *runtime.InputError where a value does not fit its input,
// ctx.Err() where ctx is done, and names the node where one fails.
func (p *Program) Forward(ctx context.Context, in []tensor.Value) (*State, error) {
	if len(in) != len(p.inputs) {
		return nil, fmt.Errorf("found %d inputs, wanted %d", len(in), len(p.inputs))
	}
	for i, v := range p.inputs {
		if err := checkInput(v, in[i]); err != nil {
			return nil, err
		}
	}
	s, run := p.state()
	for i, v := range p.inputs {
		s.values[p.slots[v]] = in[i]
	}
	for _, v := range p.consts {
		s.values[p.slots[v]] = tensor.ValueOf(v.Const())
	}
	for i := range p.steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.forward(i, run); err != nil {
			return nil, fmt.Errorf("%v: %w", p.steps[i].node, err)
		}
	}
	return s, nil
}

// checkInput fails where x is not of the declared element type and rank, or
// has another size where the model says one.
func checkInput(v *graph.Value, x tensor.Value) error {
	t := v.Type
	found := x.Kind.String()
	bad := x.Kind != tensor.KindTensor
	if !bad {
		found = x.Tensor.String()
		bad = t.DType != tensor.Undefined && t.DType != x.Tensor.DType() || t.Ranked && len(t.Shape) != x.Tensor.Rank()
		for i := 0; t.Ranked && !bad && i < len(t.Shape); i++ {
			n, ok := t.Shape[i].Const()
			bad = ok && n != x.Tensor.Shape()[i]
		}
	}
	if bad {
		return &runtime.InputError{Input: v.Name(), Found: found, Want: t.String()}
	}
	return nil
}

// state is a new state, or one that was released, and the number of the run.
func (p *Program) state() (s *State, run uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run = p.runs
	p.runs++
	if n := len(p.free); n > 0 {
		s, p.free = p.free[n-1], p.free[:n-1]
		return s, run
	}
	s = &State{p: p, values: make([]tensor.Value, len(p.slots)), made: make([]made, len(p.steps)),
		grads: make([]*tensor.Tensor, len(p.slots)), spare: map[int][]*tensor.Tensor{}, pcg: rand.NewPCG(0, 0)}
	s.ctx = op.Ctx{Pool: p.pool, Rand: rand.New(s.pcg)}
	return s, run
}

// Release gives the state's memory, and that of all tensors that came from
// it, to the program's next Forward.
func (s *State) Release() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.free = append(s.p.free, s)
}

// forward runs the i-th step.
func (s *State) forward(i int, run uint64) error {
	st, m := &s.p.steps[i], &s.made[i]
	if st.random {
		s.pcg.Seed(s.p.seed, st.seed+run*0x9e3779b97f4a7c15)
	}
	fresh := m.out == nil || !m.fixed
	if m.in == nil {
		m.in = make([]tensor.Value, len(st.in))
	}
	for j, k := range st.in {
		if k >= 0 {
			fresh = fresh || !alike(m.in[j], s.values[k])
			m.in[j] = s.values[k]
		}
	}
	if st.dynamic {
		out, err := op.Eval(&s.ctx, st.op, m.in, len(st.out))
		if err != nil {
			return err
		}
		m.out = out
	} else {
		if fresh {
			if err := s.make(st, m); err != nil {
				return err
			}
		}
		if m.view {
			if err := m.out[0].Tensor.See(m.in[0].Tensor); err != nil {
				return err
			}
		} else if err := st.op.Forward(&s.ctx, m.in, m.out); err != nil {
			return err
		}
	}
	for j, k := range st.out {
		if k >= 0 {
			s.values[k] = m.out[j]
		}
	}
	return nil
}

// alike reports whether two values have the same type.
func alike(a, b tensor.Value) bool {
	if a.Kind != b.Kind || a.Kind != tensor.KindTensor {
		return false
	}
	return a.Tensor == b.Tensor || a.Tensor.DType() == b.Tensor.DType() && slices.Equal(a.Tensor.Shape(), b.Tensor.Shape())
}

// make gives a step outputs of the types that follow from its inputs.
func (s *State) make(st *step, m *made) error {
	types, facts := make([]graph.Fact, len(m.in)), make([]graph.Fact, len(m.in))
	for j, v := range m.in {
		types[j].Kind, facts[j].Kind = v.Kind, v.Kind
		if v.Kind == tensor.KindTensor {
			facts[j] = graph.FactOf(v.Tensor)
			types[j].Type = facts[j].Type
		}
	}
	out, err := st.op.Infer(types, len(st.out))
	m.fixed = err == nil && !slices.ContainsFunc(out, func(f graph.Fact) bool { _, ok := exact(f); return !ok })
	if !m.fixed {
		if out, err = st.op.Infer(facts, len(st.out)); err != nil {
			return err
		}
	}
	v, ok := st.op.(op.View)
	m.view = ok && v.IsView(facts)
	old := m.out
	m.out = make([]tensor.Value, len(st.out))
	for j, k := range st.out {
		if k < 0 {
			continue
		}
		shape, ok := exact(out[j])
		if !ok {
			return fmt.Errorf("output %d is %v even from the inputs' contents", j, out[j].Type)
		}
		switch {
		case m.view && j == 0:
			t, err := m.in[0].Tensor.Reshaped(shape...)
			if err != nil {
				return err
			}
			m.out[0] = tensor.ValueOf(t)
		case j < len(old) && old[j].Kind == tensor.KindTensor && old[j].Tensor.DType() == out[j].DType && slices.Equal(old[j].Tensor.Shape(), shape):
			m.out[j] = old[j]
		default:
			m.out[j] = tensor.ValueOf(tensor.New(out[j].DType, shape...))
		}
	}
	return nil
}

// exact is the shape of a fact that says it whole.
func exact(f graph.Fact) ([]int, bool) {
	if f.Kind != tensor.KindTensor || !f.Ranked || !f.DType.Valid() {
		return nil, false
	}
	shape, ok := graph.Ints(f.Shape)
	if !ok {
		return nil, false
	}
	_, err := tensor.Elements(shape)
	return shape, err == nil
}

// Value is what v was in the run, the zero Value where the outputs do not need
// it. It is valid until Release.
func (s *State) Value(v *graph.Value) tensor.Value {
	if k, ok := s.p.slots[v]; ok {
		return s.values[k]
	}
	return tensor.Value{}
}

// Outputs is the values of Options.Outputs in order, valid until Release.
func (s *State) Outputs() []tensor.Value {
	out := make([]tensor.Value, len(s.p.outputs))
	for i, k := range s.p.outputs {
		out[i] = s.values[k]
	}
	return out
}
