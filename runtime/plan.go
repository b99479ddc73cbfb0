package runtime

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A plan says how a block is run for inputs of given shapes: which steps have
// outputs of known shape, and where these lie in memory.
type plan struct {
	block  *block
	types  []valueType // of the block's inputs and captures
	steps  []planStep
	consts []constant // of the block, and what follows from the shapes
	// buffers is the memory that steps write to and inputs come in; bufferOf is
	// the buffer of each slot, −1 where a slot is constant or late.
	buffers  []buffer
	bufferOf []int
	shapes   [][]int        // of slots with a buffer
	dtypes   []tensor.DType // of slots with a buffer
	external []int          // slots that see the caller's memory, inputs themselves apart
	arena    int            // bytes
	args     int            // inputs and outputs of the steps that are not late
	frames   sync.Pool      // of *frame
}

// A valueType is what of a value a plan depends on.
type valueType struct {
	kind  tensor.Kind
	dtype tensor.DType
	shape []int
}

// A planStep is a step that has to be run.
type planStep struct {
	*step
	late bool // its outputs' shapes are found out in the run
	view bool // its first output is the memory of its first input
	// drop is the late slots that no later step reads.
	drop []int
}

// A buffer is memory that one or, with views and what is overwritten, several slots share.
type buffer struct {
	source source
	index  int // of the block's input or output
	root   int // the slot that was there first
	bytes  int
	offset int // in the arena
	// The first step that writes and the last that reads.
	first, last int
}

type source uint8

// Where a buffer lies.
const (
	inArena  source = iota
	ownAlloc        // strings, which have no bytes
	inInput
	inOutput
	merged // in another buffer, to which all of its slots belong now
)

// maxPlans bounds the plans that a block keeps; the oldest one goes first.
const maxPlans = 32

// A planCache is the plans of a block. Readers take no lock.
type planCache struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*plan]
}

// plan is the plan for inputs and captures like in.
func (b *block) plan(in []tensor.Value) (*plan, error) {
	if p := b.plans.find(b, in); p != nil {
		return p, nil
	}
	p, err := b.newPlan(in)
	if err != nil {
		return nil, err
	}
	b.plans.mu.Lock()
	defer b.plans.mu.Unlock()
	if q := b.plans.find(b, in); q != nil {
		return q, nil
	}
	var list []*plan
	if old := b.plans.list.Load(); old != nil {
		list = append(list, *old...)
	}
	if len(list) >= maxPlans {
		list = list[1:]
	}
	list = append(list, p)
	b.plans.list.Store(&list)
	return p, nil
}

func (c *planCache) find(b *block, in []tensor.Value) *plan {
	list := c.list.Load()
	if list == nil {
		return nil
	}
next:
	for _, p := range *list {
		for i := range p.types {
			if b.source(i) >= 0 && !p.types[i].fits(&in[i]) {
				continue next
			}
		}
		return p
	}
	return nil
}

// source is the slot of the i-th of the inputs and captures.
func (b *block) source(i int) int {
	if i < len(b.inputs) {
		return b.inputs[i]
	}
	return b.captures[i-len(b.inputs)].slot
}

func typeOf(v tensor.Value) valueType {
	t := valueType{kind: v.Kind}
	if v.Kind == tensor.KindTensor {
		t.dtype, t.shape = v.Tensor.DType(), slices.Clone(v.Tensor.Shape())
	}
	return t
}

func (t *valueType) fits(v *tensor.Value) bool {
	return t.kind == v.Kind && (t.kind != tensor.KindTensor ||
		t.dtype == v.Tensor.DType() && slices.Equal(t.shape, v.Tensor.Shape()))
}

func (t *valueType) fact() graph.Fact {
	if t.kind == tensor.KindTensor {
		return graph.Fact{Type: graph.TensorType(t.dtype, graph.Sizes(t.shape)...)}
	}
	return graph.Fact{Type: graph.Type{Kind: t.kind}}
}

// newPlan infers all shapes from those of in. A step whose inputs' or outputs'
// shapes are not exact then is late.
func (b *block) newPlan(in []tensor.Value) (p *plan, err error) {
	p = &plan{block: b, consts: slices.Clone(b.consts), types: make([]valueType, len(in)),
		bufferOf: make([]int, b.slots), shapes: make([][]int, b.slots), dtypes: make([]tensor.DType, b.slots)}
	facts := make([]graph.Fact, b.slots)
	for i := range p.bufferOf {
		p.bufferOf[i] = -1
	}
	for _, c := range b.consts {
		facts[c.slot] = c.fact
	}
	for i, v := range in {
		slot := b.source(i)
		if slot < 0 {
			continue
		}
		p.types[i] = typeOf(v)
		facts[slot] = p.types[i].fact()
		if v.Kind == tensor.KindTensor {
			p.give(slot, facts[slot], buffer{source: inInput, index: i, root: slot, first: -1})
		}
	}
	for i := range b.steps {
		if err := p.step(&b.steps[i], facts); err != nil {
			return nil, err
		}
	}
	p.lifetimes()
	p.bindOutputs()
	p.overwrite()
	for k, u := range p.bufferOf {
		if u >= 0 && (p.buffers[u].source == inOutput || p.buffers[u].source == inInput && p.buffers[u].root != k) {
			p.external = append(p.external, k)
		}
	}
	if p.arena, err = layOut(p.buffers); err != nil {
		return nil, err
	}
	return p, nil
}

// give puts a slot of an exact type into a new buffer.
func (p *plan) give(slot int, f graph.Fact, u buffer) {
	shape, bytes, _ := exactType(f)
	u.bytes = bytes
	if u.source == inArena && f.DType == tensor.String {
		u.source = ownAlloc
	}
	p.shapes[slot], p.dtypes[slot] = shape, f.DType
	p.bufferOf[slot] = len(p.buffers)
	p.buffers = append(p.buffers, u)
}

// step plans s and sets the facts of its outputs.
func (p *plan) step(s *step, facts []graph.Fact) error {
	in := make([]graph.Fact, len(s.in))
	exact := true
	for i, k := range s.in {
		if k < 0 {
			continue
		}
		in[i] = facts[k]
		_, _, ok := exactType(in[i])
		exact = exact && ok
	}
	var out []graph.Fact
	err := guard(func() (err error) {
		out, err = op.InferNode(s.op, in, len(s.out))
		return err
	})
	if err != nil && exact {
		return fmt.Errorf("%v: %w", s.node, err)
	}
	exact = exact && !s.dynamic
	constant := exact && !s.random
	for i, k := range s.out {
		if err != nil {
			exact = false // the run finds out more, or says what is wrong
			break
		}
		if k < 0 {
			continue
		}
		_, _, ok := exactType(out[i])
		exact = exact && ok
		constant = constant && out[i].Const != nil
	}
	if !exact {
		for i, k := range s.out {
			if k >= 0 && err == nil {
				facts[k] = out[i]
				facts[k].Const, facts[k].Ints = nil, nil
				if len(s.bodies) > 0 {
					// Only a declaration in the body says the shape.
					facts[k].Shape, facts[k].Ranked = nil, false
				}
			}
		}
		p.steps = append(p.steps, planStep{step: s, late: true})
		return nil
	}
	for i, k := range s.out {
		if k >= 0 {
			facts[k] = out[i]
		}
	}
	if constant {
		p.addConsts(s, out)
		return nil
	}
	at := planStep{step: s, view: p.isView(s, in)}
	for i, k := range s.out {
		switch {
		case k < 0:
		case at.view && i == 0:
			shape, _, _ := exactType(out[i])
			p.bufferOf[k], p.shapes[k], p.dtypes[k] = p.bufferOf[s.in[0]], shape, out[i].DType
		default:
			p.give(k, out[i], buffer{root: k, first: len(p.steps)})
		}
	}
	p.steps = append(p.steps, at)
	if !at.view {
		p.args += len(s.in) + len(s.out)
	}
	return nil
}

// addConsts takes the outputs of a step that follow from the shapes alone.
func (p *plan) addConsts(s *step, out []graph.Fact) {
	for i, k := range s.out {
		if k >= 0 {
			p.consts = append(p.consts, constant{k, out[i]})
		}
	}
}

// isView reports whether s needs no run of its own: its only wanted output is
// a buffer that is there already.
func (p *plan) isView(s *step, in []graph.Fact) bool {
	v, ok := s.op.(op.View)
	if !ok || !v.IsView(in) || len(s.in) == 0 || s.in[0] < 0 || p.bufferOf[s.in[0]] < 0 {
		return false
	}
	for _, k := range s.out[1:] {
		if k >= 0 {
			return false
		}
	}
	return true
}

// lifetimes finds the last reader of each buffer and of each late slot.
func (p *plan) lifetimes() {
	end := len(p.steps)
	last := make([]int, p.block.slots) // of late slots, by step + 1
	for i := range p.steps {
		s := &p.steps[i]
		read := func(k int) {
			if k < 0 {
				return
			}
			last[k] = i + 1
			if u := p.bufferOf[k]; u >= 0 {
				p.buffers[u].last = max(p.buffers[u].last, i)
				if s.dynamic {
					// What a Dynamic op makes may share memory with its
					// inputs, a sequence with its elements.
					p.buffers[u].last = end
				}
			}
		}
		for _, k := range s.in {
			read(k)
		}
		for _, b := range s.bodies {
			for _, k := range b.slots {
				read(k)
			}
		}
		for _, k := range s.out {
			if k < 0 {
				continue
			}
			last[k] = i + 1
			if u := p.bufferOf[k]; u >= 0 {
				p.buffers[u].last = max(p.buffers[u].last, i)
			}
		}
	}
	for _, k := range p.block.outputs {
		last[k] = end + 1
		if u := p.bufferOf[k]; u >= 0 {
			p.buffers[u].last = end
		}
	}
	for i := range p.steps {
		if !p.steps[i].late {
			continue
		}
		for _, k := range p.steps[i].out {
			if k >= 0 && last[k] <= end {
				d := &p.steps[last[k]-1].drop
				*d = append(*d, k)
			}
		}
	}
}

// bindOutputs lets the steps behind outputs write to the caller's memory.
func (p *plan) bindOutputs() {
	for i, k := range p.block.outputs {
		if u := p.bufferOf[k]; u >= 0 && (p.buffers[u].source == inArena || p.buffers[u].source == ownAlloc) {
			p.buffers[u].source, p.buffers[u].index = inOutput, i
		}
	}
}

// arenaAlign is what the offsets of buffers are multiples of: a cache line.
const arenaAlign = 64

// maxArena bounds the bytes of an arena, so that sums of sizes do not overflow.
const maxArena = 1 << 46

// layOut gives each buffer of the arena an offset such that no two that are
// alive in the same step overlap, and returns the size of all: the largest are
// placed first, each as low as it fits.
func layOut(buffers []buffer) (int, error) {
	var order []*buffer
	for i := range buffers {
		if buffers[i].source == inArena {
			order = append(order, &buffers[i])
		}
	}
	slices.SortStableFunc(order, func(a, b *buffer) int { return b.bytes - a.bytes })
	var placed []*buffer // by offset
	size := 0
	for _, u := range order {
		at, to := 0, 0
		for _, v := range placed {
			if v.first > u.last || u.first > v.last {
				continue
			}
			if v.offset >= at+u.bytes {
				break
			}
			at = max(at, (v.offset+v.bytes+arenaAlign-1)/arenaAlign*arenaAlign)
		}
		if u.bytes > maxArena-at {
			return 0, fmt.Errorf("the results of the nodes take more than %d bytes", maxArena)
		}
		u.offset = at
		for to < len(placed) && placed[to].offset <= at {
			to++
		}
		placed = slices.Insert(placed, to, u)
		size = max(size, at+u.bytes)
	}
	return size, nil
}
