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

// A State is one forward run with the activations that its gradients need. It
// is for one goroutine at a time.
type State struct {
	p     *Program
	ctx   op.Ctx
	pcg   *rand.PCG
	run   uint64
	steps []memory // by step
	mem   arena

	// By slot. A value whose elements nobody reads any more keeps its type; its
	// elements are then someone else's.
	values []tensor.Value
	// What the state has found out in its first run of which values follow from
	// the inputs' types: their types, and their elements, which later runs take
	// over, since a state only ever sees inputs of the same types.
	typed, settled []bool
	seen           bool
	bufs           []*buffer // of what steps made
	unread         []int     // inputs of steps that have still to read it
	grads          []gradient
	loans          []*buffer // by slot, of gradients that have memory of their own; nil before the first
	borrow         bool      // gradients take them
	handing        handing
	part           part // where the state is one of a batch's parts
	cut            *cut // where it is a whole batch, run in parts; else nil
}

// memory is what a state keeps of a step for the next run.
type memory struct {
	in, out   []tensor.Value // the arguments of the last run
	dout, din []tensor.Value
	fresh     []bool         // of din
	dtypes    []tensor.DType // of the outputs
	shapes    [][]int
	fixed     bool // the outputs' types follow from those of the inputs
	view      bool // the first output shares the first input's elements
	settled   bool // the outputs are those of the first run
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
	s := p.state(in)
	run := s.through
	if s.cut != nil {
		run = s.cut.forward
	}
	if err := run(ctx, in); err != nil {
		return nil, err
	}
	return s, nil
}

// bind gives the inputs and constants their values.
func (s *State) bind(in []tensor.Value) {
	for i, v := range s.p.inputs {
		s.values[s.p.slots[v]] = in[i]
	}
	for _, v := range s.p.consts {
		s.values[s.p.slots[v]] = tensor.ValueOf(v.Const())
	}
}

// through is Forward in one piece.
func (s *State) through(ctx context.Context, in []tensor.Value) error {
	p := s.p
	s.bind(in)
	copy(s.unread, p.readers)
	for i := range p.steps {
		if s.steps[i].settled {
			s.read(&p.steps[i])
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.forward(i); err != nil {
			return fmt.Errorf("%v: %w", p.steps[i].node, err)
		}
		if !s.seen {
			s.settle(i)
		}
	}
	s.seen = true
	return nil
}

// settle finds out what of the i-th step follows from the types of the model's
// inputs: the shapes that exporters compute node by node do.
func (s *State) settle(i int) {
	st, m := &s.p.steps[i], &s.steps[i]
	typed, settled := true, !st.random
	for _, k := range st.in {
		typed = typed && (k < 0 || s.typed[k])
		settled = settled && (k < 0 || s.settled[k])
	}
	settled = settled || typed && op.OfType(st.op)
	if typed && !st.dynamic && !m.fixed {
		m.fixed = s.follows(st, m)
	}
	for _, k := range st.out {
		if k >= 0 {
			s.typed[k], s.settled[k] = settled || typed && m.fixed, settled
		}
	}
	m.settled = settled
}

// follows reports whether the types of a step's outputs follow from the types
// of its inputs and the elements of those that are settled.
func (s *State) follows(st *step, m *memory) bool {
	in := make([]graph.Fact, len(m.in))
	for j, v := range m.in {
		in[j].Kind = v.Kind
		if v.Kind == tensor.KindTensor {
			if in[j] = graph.FactOf(v.Tensor); !s.settled[st.in[j]] {
				in[j] = graph.Fact{Type: in[j].Type}
			}
		}
	}
	out, err := st.op.Infer(in, len(st.out))
	return err == nil && !slices.ContainsFunc(out, func(f graph.Fact) bool { _, ok := exact(f); return !ok })
}

// checkInput fails where x is not of the declared element type and rank, or
// has another size where the model says one.
func checkInput(v *graph.Value, x tensor.Value) error {
	t := v.Type
	bad := x.Kind != tensor.KindTensor
	if !bad {
		bad = t.DType != tensor.Undefined && t.DType != x.Tensor.DType() || t.Ranked && len(t.Shape) != x.Tensor.Rank()
		for i := 0; t.Ranked && !bad && i < len(t.Shape); i++ {
			n, ok := t.Shape[i].Const()
			bad = ok && n != x.Tensor.Shape()[i]
		}
	}
	if bad {
		return &runtime.InputError{Input: v.Name(), Found: describe(x), Want: t.String()}
	}
	return nil
}

// state is a state that was released after a run on inputs like in, or a new
// one, with the number of the run.
func (p *Program) state(in []tensor.Value) (s *State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run := p.runs
	p.runs++
	for n := len(p.free); n > 0; n = len(p.free) {
		s, p.free = p.free[n-1], p.free[:n-1]
		same := true
		for i, v := range p.inputs {
			same = same && alike(s.values[p.slots[v]], in[i])
		}
		if same {
			s.again(run)
			return s
		}
	}
	s = p.newState(run)
	s.split(in)
	return s
}

func (p *Program) newState(run uint64) *State {
	n := len(p.slots)
	s := &State{p: p, run: run, pcg: rand.NewPCG(0, 0), steps: make([]memory, len(p.steps)), values: make([]tensor.Value, n),
		bufs: make([]*buffer, n), unread: make([]int, n), grads: make([]gradient, n), mem: arena{}}
	s.ctx = op.Ctx{Pool: p.pool, Rand: rand.New(s.pcg)}
	s.typed, s.settled = make([]bool, n), make([]bool, n)
	for _, v := range p.inputs {
		s.typed[p.slots[v]] = true
	}
	for _, v := range p.consts {
		k := p.slots[v]
		s.typed[k], s.settled[k] = true, !v.Const().DType().IsFloat()
	}
	return s
}

// seedStep has a random step draw what it draws in this run, forward and back.
func (s *State) seedStep(st *step) {
	if st.random {
		s.pcg.Seed(s.p.seed, st.seed+s.run*0x9e3779b97f4a7c15+uint64(s.part.number)*0xbf58476d1ce4e5b9)
	}
}

// Seek makes the next Forward draw as the run-th of a new program does: it goes
// on where another program of the same model and seed was interrupted.
func (p *Program) Seek(run uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = run
}

// again prepares the state for another run.
func (s *State) again(run uint64) {
	s.run = run
	if s.cut != nil {
		return // its parts are, each by the thread that runs it
	}
	for k := range s.bufs {
		if !s.settled[k] {
			s.bufs[k] = s.mem.release(s.bufs[k])
		}
		s.drop(k)
	}
}

// Release gives the state's memory, and that of all tensors that came from
// it, to the program's next Forward.
func (s *State) Release() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.free = append(s.p.free, s)
}

// forward runs the i-th step.
func (s *State) forward(i int) error {
	st, m := &s.p.steps[i], &s.steps[i]
	s.seedStep(st)
	fresh := !m.fixed
	if m.in == nil {
		m.in, m.out = make([]tensor.Value, len(st.in)), make([]tensor.Value, len(st.out))
	}
	for j, k := range st.in {
		if k >= 0 {
			fresh = fresh || !alike(m.in[j], s.values[k])
			m.in[j] = s.values[k]
		}
	}
	var err error
	if st.dynamic {
		m.out, err = op.Eval(&s.ctx, st.op, m.in, len(st.out))
	} else {
		err = s.static(st, m, fresh)
	}
	if err != nil {
		return err
	}
	for j, k := range st.out {
		if k >= 0 {
			s.values[k] = m.out[j]
			s.forget(k)
		}
	}
	s.read(st)
	return nil
}

// read notes that a step has read its inputs.
func (s *State) read(st *step) {
	for _, k := range st.in {
		if k >= 0 {
			s.unread[k]--
			s.forget(k)
		}
	}
}

// forget gives back the memory of what nobody will read.
func (s *State) forget(k int) {
	if s.unread[k] == 0 && !s.p.keep[k] && !s.settled[k] {
		s.bufs[k] = s.mem.release(s.bufs[k])
	}
}

// static runs a step whose outputs' types can be told before.
func (s *State) static(st *step, m *memory, fresh bool) error {
	if fresh {
		if err := m.infer(st); err != nil {
			return err
		}
	}
	for j, k := range st.out {
		if k < 0 {
			continue
		}
		var elements *tensor.Tensor
		if j == 0 && (m.view || s.takes(st, m)) {
			elements = m.in[0].Tensor
			if s.bufs[k] = s.bufs[st.in[0]]; s.bufs[k] != nil {
				s.bufs[k].refs++
			}
		} else {
			n, err := tensor.Elements(m.shapes[j])
			if err != nil {
				return err
			}
			s.bufs[k] = s.mem.take(m.dtypes[j], n)
			elements = s.bufs[k].t
		}
		if err := show(&m.out[j].Tensor, elements, m.dtypes[j], m.shapes[j]); err != nil {
			return err
		}
		m.out[j].Kind = tensor.KindTensor
	}
	if m.view {
		return nil
	}
	return st.op.Forward(&s.ctx, m.in, m.out)
}

// takes reports whether a step's first output may have the memory of its first
// input: where no one else reads that, and it is not asked for.
func (s *State) takes(st *step, m *memory) bool {
	k := st.in[0]
	if !st.inPlace || k < 0 || s.bufs[k] == nil {
		return false
	}
	x := m.in[0].Tensor
	return s.unread[k] == 1 && !s.p.keep[k] && !s.settled[k] && s.bufs[k].refs == 1 && x.DType() == m.dtypes[0] && slices.Equal(x.Shape(), m.shapes[0])
}

// alike reports whether two values are tensors of the same type.
func alike(a, b tensor.Value) bool {
	if a.Kind != tensor.KindTensor || b.Kind != tensor.KindTensor {
		return false
	}
	return a.Tensor == b.Tensor || a.Tensor.DType() == b.Tensor.DType() && slices.Equal(a.Tensor.Shape(), b.Tensor.Shape())
}

// infer finds out the types of a step's outputs.
func (m *memory) infer(st *step) error {
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
	m.view = ok && st.out[0] >= 0 && v.IsView(facts)
	m.dtypes, m.shapes = make([]tensor.DType, len(st.out)), make([][]int, len(st.out))
	for j, k := range st.out {
		if k < 0 {
			continue
		}
		shape, ok := exact(out[j])
		if !ok {
			return fmt.Errorf("output %d is %v even from the inputs' contents", j, out[j].Type)
		}
		m.dtypes[j], m.shapes[j] = out[j].DType, shape
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

// Value is what v was in the run, for a value of Options.Wrt, Outputs or Keep,
// a constant or an input; the zero Value for others, whose elements may be
// gone. It is valid until Release.
func (s *State) Value(v *graph.Value) tensor.Value {
	k, ok := s.p.slots[v]
	if !ok || !s.p.keep[k] && v.Producer() != nil && v.Const() == nil {
		return tensor.Value{}
	}
	return s.values[k]
}

// Outputs is the values of Options.Outputs in order, valid until Release.
func (s *State) Outputs() []tensor.Value {
	out := make([]tensor.Value, len(s.p.outputs))
	for i, k := range s.p.outputs {
		out[i] = s.values[k]
	}
	return out
}

// Len is the number of Outputs.
func (s *State) Len() int { return len(s.p.outputs) }

// Output is the i-th of Outputs.
func (s *State) Output(i int) tensor.Value { return s.values[s.p.outputs[i]] }
