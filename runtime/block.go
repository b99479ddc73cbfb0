package runtime

import (
	"fmt"
	"hash/fnv"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A block is a graph made ready to run: its values numbered as slots, its
// needed nodes in order. The body of a Loop is a block of its own, which takes
// the values that it reads from around it as further inputs.
type block struct {
	prog     *Program
	slots    int
	inputs   []int // slots of the graph's inputs, −1 where none is needed
	captures []capture
	consts   []constant
	steps    []step
	outputs  []int
	plans    planCache
	mapped   [][]byte // of each mapped file that steps read, one constant
}

// A capture is a value of a graph around the block's.
type capture struct {
	value *graph.Value
	slot  int
}

type constant struct {
	slot int
	fact graph.Fact
}

// A step runs one node.
type step struct {
	node    *graph.Node
	op      op.Op
	in, out []int // slots, −1 where an input is left out or an output not wanted
	bodies  []body
	random  bool   // it draws, or a node in one of its bodies does
	seed    uint64 // of what it draws
	dynamic bool
}

// A body is a subgraph of a step with the step's slots of what it captures.
type body struct {
	graph *graph.Graph
	block *block
	slots []int
}

// markNeeded adds to set the nodes of g, and of subgraphs, that the wanted
// values depend on.
func markNeeded(set map[*graph.Node]bool, g *graph.Graph, wanted []*graph.Value) {
	stack := append([]*graph.Value(nil), wanted...)
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v == nil || v.Graph() != g || v.Producer() == nil || set[v.Producer()] {
			continue
		}
		n := v.Producer()
		set[n] = true
		stack = append(stack, n.Inputs()...)
		if subs := n.Subgraphs(); len(subs) > 0 {
			stack = append(stack, n.Captures()...)
			for _, s := range subs {
				markNeeded(set, s, s.Outputs)
			}
		}
	}
}

// block makes the block of g that computes wanted.
func (b *builder) block(g *graph.Graph, wanted []*graph.Value) (*block, error) {
	order, err := g.Sorted()
	if err != nil {
		return nil, invalid(err)
	}
	needed := map[*graph.Node]bool{}
	markNeeded(needed, g, wanted)
	var live []*graph.Node
	for _, n := range order {
		if needed[n] && !(b.folds && b.fold(n)) && !b.isConstant(n) {
			live = append(live, n)
		}
	}
	// What only folded nodes read is no longer needed.
	s := &slotter{b: b, g: g, blk: &block{prog: b.p}, of: map[*graph.Value]int{}, read: map[*graph.Value]bool{}}
	for _, v := range wanted {
		s.read[v] = true
	}
	for _, n := range live {
		for _, v := range n.Inputs() {
			s.read[v] = true
		}
		if len(n.Subgraphs()) > 0 {
			for _, v := range n.Captures() {
				s.read[v] = true
			}
		}
	}
	for _, v := range g.Inputs {
		slot := -1
		if s.read[v] && b.constant(v) == nil {
			slot = s.local(v)
		}
		s.blk.inputs = append(s.blk.inputs, slot)
	}
	for _, n := range live {
		if err := s.step(n); err != nil {
			return nil, err
		}
	}
	for _, v := range wanted {
		slot, err := s.slot(v)
		if err != nil {
			return nil, err
		}
		s.blk.outputs = append(s.blk.outputs, slot)
	}
	return s.blk, nil
}

// exactType is the shape and the number of bytes of a fact that says both.
func exactType(f graph.Fact) (shape []int, bytes int, ok bool) {
	if f.Kind != tensor.KindTensor || !f.Ranked || !f.DType.Valid() {
		return nil, 0, false
	}
	if shape, ok = graph.Ints(f.Shape); !ok {
		return nil, 0, false
	}
	n, err := tensor.Elements(shape)
	if err != nil {
		return nil, 0, false
	}
	if f.DType == tensor.String {
		return shape, n * stringBytes, true
	}
	return shape, f.DType.ByteLen(n), true
}

// stringBytes is what one element of a string tensor takes at least.
const stringBytes = 16

// A slotter numbers the values of one block.
type slotter struct {
	b    *builder
	g    *graph.Graph
	blk  *block
	of   map[*graph.Value]int
	read map[*graph.Value]bool
}

// local is a new slot for a value that the block defines.
func (s *slotter) local(v *graph.Value) int {
	k := s.blk.slots
	s.blk.slots++
	s.of[v] = k
	return k
}

// slot is the slot of a value that is read: −1 for one left out.
func (s *slotter) slot(v *graph.Value) (int, error) {
	if v == nil {
		return -1, nil
	}
	if k, ok := s.of[v]; ok {
		return k, nil
	}
	if t := s.b.constant(v); t != nil {
		k := s.local(v)
		s.blk.consts = append(s.blk.consts, constant{k, graph.FactOf(t)})
		return k, nil
	}
	if v.Graph() == s.g {
		return 0, invalid(fmt.Errorf("value %q is defined nowhere", v.Name()))
	}
	k := s.local(v)
	s.blk.captures = append(s.blk.captures, capture{v, k})
	return k, nil
}

// step appends the step of n.
func (s *slotter) step(n *graph.Node) error {
	st := step{node: n, op: s.b.op(n)}
	if st.op == nil {
		return fmt.Errorf("%v cannot be run", n)
	}
	if _, st.random = st.op.(op.Random); st.random {
		h := fnv.New64a()
		h.Write([]byte(n.Label()))
		st.seed = h.Sum64()
	}
	_, st.dynamic = st.op.(op.Dynamic)
	for _, v := range n.Inputs() {
		k, err := s.slot(v)
		if err != nil {
			return err
		}
		st.in = append(st.in, k)
	}
	for _, g := range n.Subgraphs() {
		inner, err := s.b.block(g, g.Outputs)
		if err != nil {
			return err
		}
		b := body{graph: g, block: inner}
		for _, c := range inner.captures {
			k, err := s.slot(c.value)
			if err != nil {
				return err
			}
			b.slots = append(b.slots, k)
		}
		for i := range inner.steps {
			st.random = st.random || inner.steps[i].random
		}
		st.bodies = append(st.bodies, b)
	}
	for i, v := range n.Outputs() {
		// Whoever computes the other outputs may count on the first.
		if v == nil || i > 0 && !s.read[v] {
			st.out = append(st.out, -1)
		} else {
			st.out = append(st.out, s.local(v))
		}
	}
	s.blk.steps = append(s.blk.steps, st)
	return nil
}

// random tells which outputs of the block depend on a draw.
func (b *block) random() []bool {
	drawn := make([]bool, b.slots)
	for i := range b.steps {
		s := &b.steps[i]
		r := s.random
		for _, k := range s.in {
			r = r || k >= 0 && drawn[k]
		}
		for _, body := range s.bodies {
			for _, k := range body.slots {
				r = r || drawn[k]
			}
		}
		for _, k := range s.out {
			if k >= 0 {
				drawn[k] = r
			}
		}
	}
	out := make([]bool, len(b.outputs))
	for i, k := range b.outputs {
		out[i] = drawn[k]
	}
	return out
}
