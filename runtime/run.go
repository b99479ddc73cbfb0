package runtime

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A frame is what one run of a plan works on. It is used by one run at a time
// and kept for the next.
type frame struct {
	plan    *plan
	values  []tensor.Value   // by slot
	tensors []*tensor.Tensor // by slot, those that the frame itself has made
	args    []tensor.Value
	pcg     rand.PCG
	op      op.Ctx
	at      int // the step that runs

	ctx   context.Context
	root  *frame // of the main block
	calls uint64 // of bodies in this run, counted by the root
	call  uint64 // which of them this frame is
	times []time.Duration
}

// frame is a frame that is free, or a new one.
func (p *plan) frame() (*frame, error) {
	if f, ok := p.frames.Get().(*frame); ok {
		return f, nil
	}
	f := &frame{plan: p, values: make([]tensor.Value, p.block.slots),
		tensors: make([]*tensor.Tensor, p.block.slots), args: make([]tensor.Value, p.args)}
	f.op = op.Ctx{Pool: p.block.prog.pool, Rand: rand.New(&f.pcg), Call: f.callBody}
	for _, c := range p.consts {
		f.values[c.slot] = tensor.ValueOf(c.fact.Const)
	}
	memory := tensor.New(tensor.Uint8, p.arena).Bytes()
	for k, u := range p.bufferOf {
		if u < 0 {
			continue
		}
		var err error
		switch b := &p.buffers[u]; {
		case b.source == inArena:
			f.tensors[k], err = tensor.FromBytes(p.dtypes[k], p.shapes[k], memory[b.offset:b.offset+b.bytes])
		case b.source == ownAlloc && k == b.root:
			f.tensors[k] = tensor.New(p.dtypes[k], p.shapes[k]...)
		case b.source == ownAlloc: // the root has a lower slot
			f.tensors[k], err = f.tensors[b.root].Reshaped(p.shapes[k]...)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		f.values[k] = tensor.ValueOf(f.tensors[k])
	}
	return f, nil
}

// release keeps the frame for the next run, without what this one brought.
func (f *frame) release() {
	p := f.plan
	for i := range p.types {
		if k := p.block.source(i); k >= 0 {
			f.values[k] = tensor.Value{}
		}
	}
	for _, k := range p.external {
		f.values[k] = tensor.Value{}
	}
	for i := range p.steps {
		if s := &p.steps[i]; s.late {
			for _, k := range s.out {
				if k >= 0 {
					f.values[k] = tensor.Value{}
				}
			}
		}
	}
	clear(f.args)
	f.ctx, f.root, f.times = nil, nil, nil
	p.frames.Put(f)
}

// execute runs the plan on in, the inputs and captures of its block, and sets
// out as RunInto does. A panic in an operator becomes an error.
func (f *frame) execute(in, out []tensor.Value) (err error) {
	f.at = -1
	defer func() {
		if v := recover(); v != nil {
			if err = file.Fault(v); err == nil {
				err = fmt.Errorf("panic: %v", v)
			}
			if f.at >= 0 {
				err = fmt.Errorf("%v: %w", f.plan.steps[f.at].node, err)
			}
		}
	}()
	if err := f.bind(in, out); err != nil {
		return err
	}
	args := f.args
	for i := range f.plan.steps {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		f.at = i
		s := &f.plan.steps[i]
		var start time.Time
		if f.times != nil {
			start = time.Now()
		}
		switch {
		case s.late:
			err = f.late(s)
		case !s.view:
			n := len(s.in) + len(s.out)
			err = f.static(s, args[:len(s.in)], args[len(s.in):n])
			args = args[n:]
		}
		if err != nil {
			return fmt.Errorf("%v: %w", s.node, err)
		}
		if f.times != nil {
			f.times[i] = time.Since(start)
		}
		for _, k := range s.drop {
			f.values[k] = tensor.Value{}
		}
	}
	f.at = -1
	return f.giveOut(out)
}

// bind puts the caller's values where the steps find them.
func (f *frame) bind(in, out []tensor.Value) error {
	p := f.plan
	for i := range in {
		if k := p.block.source(i); k >= 0 {
			f.values[k] = in[i]
		}
	}
	for j, k := range p.block.outputs {
		if !p.bound(j) {
			continue
		}
		if out[j].Kind == tensor.KindNone {
			out[j] = tensor.ValueOf(tensor.New(p.dtypes[k], p.shapes[k]...))
		} else if err := f.checkOut(j, out[j], p.dtypes[k], p.shapes[k]); err != nil {
			return err
		}
	}
	for _, k := range p.external {
		u := &p.buffers[p.bufferOf[k]]
		from := out
		if u.source == inInput {
			from = in
		}
		t := from[u.index].Tensor
		switch {
		case slices.Equal(t.Shape(), p.shapes[k]):
			f.values[k] = tensor.ValueOf(t)
			continue
		case f.tensors[k] == nil:
			var err error
			if f.tensors[k], err = t.Reshaped(p.shapes[k]...); err != nil {
				return err
			}
		default:
			if err := f.tensors[k].See(t); err != nil {
				return err
			}
		}
		f.values[k] = tensor.ValueOf(f.tensors[k])
	}
	return nil
}

// bound reports whether the j-th output is written in place.
func (p *plan) bound(j int) bool {
	u := p.bufferOf[p.block.outputs[j]]
	return u >= 0 && p.buffers[u].source == inOutput && p.buffers[u].index == j
}

// checkOut fails unless a caller's value can take the j-th output, a tensor
// of the given type.
func (f *frame) checkOut(j int, v tensor.Value, d tensor.DType, shape []int) error {
	if v.Kind == tensor.KindTensor && v.Tensor != nil && v.Tensor.DType() == d && slices.Equal(v.Tensor.Shape(), shape) {
		return nil
	}
	return fmt.Errorf("output %q is %s, found memory of %s", f.plan.block.prog.outputs[j].Name,
		graph.TensorType(d, graph.Sizes(shape)...), describe(v))
}

// static runs a step whose outputs lie where the plan says.
func (f *frame) static(s *planStep, in, out []tensor.Value) error {
	for i, k := range s.in {
		if k >= 0 {
			in[i] = f.values[k]
		}
	}
	for i, k := range s.out {
		if k >= 0 {
			out[i] = f.values[k]
		}
	}
	f.seed(s)
	return s.op.Forward(&f.op, in, out)
}

// late runs a step whose outputs' shapes follow from the values now there.
func (f *frame) late(s *planStep) error {
	in := make([]tensor.Value, len(s.in)) // a sequence that s makes may keep it
	for i, k := range s.in {
		if k >= 0 {
			in[i] = f.values[k]
		}
	}
	if v, ok := s.op.(op.View); ok && len(in) == 1 && len(s.out) == 1 && in[0].Kind != tensor.KindTensor && v.IsView(make([]graph.Fact, 1)) {
		f.values[s.out[0]] = in[0] // a sequence or optional, as it is
		return nil
	}
	f.seed(s)
	out, err := op.Eval(&f.op, s.op, in, len(s.out))
	if err != nil {
		return err
	}
	for i, k := range s.out {
		if k < 0 {
			continue
		}
		if i >= len(out) {
			return fmt.Errorf("found %d outputs, wanted %d", len(out), len(s.out))
		}
		f.values[k] = out[i]
	}
	return nil
}

// seed gives a random step a stream of its own, so that what it draws depends
// neither on other nodes nor on which of them are needed; each run of a body
// draws anew.
func (f *frame) seed(s *planStep) {
	if s.random {
		f.pcg.Seed(f.plan.block.prog.seed, s.seed+f.call*0x9e3779b97f4a7c15)
	}
}

// giveOut copies the outputs that were not written in place.
func (f *frame) giveOut(out []tensor.Value) error {
	p := f.plan
	for j, k := range p.block.outputs {
		if p.bound(j) {
			continue
		}
		v := f.values[k]
		if out[j].Kind == tensor.KindTensor && v.Kind == tensor.KindTensor {
			if err := f.checkOut(j, out[j], v.Tensor.DType(), v.Tensor.Shape()); err != nil {
				return err
			}
			if err := out[j].Tensor.CopyFrom(v.Tensor); err != nil {
				return err
			}
			continue
		}
		out[j] = cloneValue(v)
	}
	return nil
}

// cloneValue is a copy that shares nothing with v.
func cloneValue(v tensor.Value) tensor.Value {
	if v.Tensor != nil {
		v.Tensor = v.Tensor.Clone()
	}
	if v.Keys != nil {
		v.Keys = v.Keys.Clone()
	}
	if v.Elems != nil {
		elems := make([]tensor.Value, len(v.Elems))
		for i, e := range v.Elems {
			elems[i] = cloneValue(e)
		}
		v.Elems = elems
	}
	return v
}

// callBody is op.Ctx.Call: it runs a subgraph of the current step.
func (f *frame) callBody(g *graph.Graph, in []tensor.Value) ([]tensor.Value, error) {
	s := &f.plan.steps[f.at]
	for i := range s.bodies {
		b := &s.bodies[i]
		if b.graph != g {
			continue
		}
		if len(in) != len(b.block.inputs) {
			return nil, fmt.Errorf("subgraph %q: found %d inputs, wanted %d", g.Name, len(in), len(b.block.inputs))
		}
		all := slices.Grow(slices.Clone(in), len(b.slots))
		for _, k := range b.slots {
			all = append(all, f.values[k])
		}
		p, err := b.block.plan(all)
		if err != nil {
			return nil, err
		}
		inner, err := p.frame()
		if err != nil {
			return nil, err
		}
		f.root.calls++
		inner.ctx, inner.root, inner.call = f.ctx, f.root, f.root.calls
		out := make([]tensor.Value, len(b.block.outputs))
		if err := inner.execute(all, out); err != nil {
			return nil, err
		}
		inner.release()
		return out, f.ctx.Err()
	}
	return nil, fmt.Errorf("subgraph %q is not of %v", g.Name, s.node)
}

// plan is the plan for in. Where a lowered block has none, the shapes are not
// those that the model declares: the plain nodes run, or say what is wrong.
func (p *Program) plan(in []tensor.Value) (*plan, error) {
	b, err := p.block(in, p.lowered)
	if err != nil {
		return nil, err
	}
	pl, err := b.plan(in)
	if err == nil || !p.lowered {
		return pl, err
	}
	if b, err = p.block(in, false); err != nil {
		return nil, err
	}
	return b.plan(in)
}

// run checks in, runs the main block and, where profile is set, measures it.
func (p *Program) run(ctx context.Context, in, out []tensor.Value, profile bool) ([]OpTime, error) {
	defer file.PanicOnFault()()
	if err := p.checkInputs(in); err != nil {
		return nil, err
	}
	if len(out) != len(p.outputs) {
		return nil, fmt.Errorf("found %d outputs, wanted %d", len(out), len(p.outputs))
	}
	if len(in) < len(p.inputs) {
		in = append(in[:len(in):len(in)], make([]tensor.Value, len(p.inputs)-len(in))...)
	}
	pl, err := p.plan(in)
	if err != nil {
		return nil, err
	}
	f, err := pl.frame()
	if err != nil {
		return nil, err
	}
	f.ctx, f.root, f.calls = ctx, f, 0
	if profile {
		f.times = make([]time.Duration, len(pl.steps))
	}
	if err := f.execute(in, out); err != nil {
		return nil, err
	}
	for _, b := range pl.block.mapped {
		if err := file.Check(b); err != nil {
			return nil, err
		}
	}
	var times []OpTime
	for i, t := range f.times {
		n := pl.steps[i].node
		times = append(times, OpTime{n.Label(), n.OpType, t})
	}
	f.release()
	return times, nil
}

// An OpTime is the time that one node took in a run, its subgraphs included.
type OpTime struct {
	Name string // the node's, or where it has none its first output's
	Op   string
	Time time.Duration
}

// RunProfile is Run with the times of the nodes that were run, in their order.
// A node that was computed when the model was compiled, or whose output follows
// from the inputs' shapes, is not among them.
func (p *Program) RunProfile(ctx context.Context, in []tensor.Value) ([]tensor.Value, []OpTime, error) {
	out := make([]tensor.Value, len(p.outputs))
	times, err := p.run(ctx, in, out, true)
	if err != nil {
		return nil, nil, err
	}
	return out, times, nil
}
