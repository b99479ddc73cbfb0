// Package grad computes gradients of a model's outputs: a forward run that
// keeps the activations, and backward runs over them. It works on the model's
// own graph, so that what is trained is what is written.
package grad

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// Options says what is to be differentiated.
type Options struct {
	Pool *kernel.Pool // nil: the caller's goroutine alone
	// Wrt is the values of the model's main graph by which gradients are
	// wanted: constants, activations, inputs.
	Wrt []*graph.Value
	// Outputs is the values that are differentiated; nil: the graph's outputs.
	Outputs []*graph.Value
	// Keep is further values that State.Value is to give out. Those of Wrt and
	// Outputs are kept anyway, others only for as long as they are needed.
	Keep []*graph.Value
	Seed uint64 // of random operators, which draw anew in each Forward
}

// A Program computes the gradients of some values of a graph by others. Its
// methods are safe for concurrent use; it reads the model's floating-point
// constants in each Forward, so whoever changes their elements does so between
// runs. The elements of others must not change.
type Program struct {
	pool    *kernel.Pool
	seed    uint64
	slots   map[*graph.Value]int // of all values that the outputs need
	inputs  []*graph.Value       // those without initializer
	consts  []*graph.Value
	steps   []step
	outputs []int
	// By slot:
	wrt     []bool
	carries []bool // it lies on a path from a Wrt value to an output
	keep    []bool // its elements are read after the forward run
	readers []int  // how many inputs of steps it is
	// Options.Wrt whose gradient is whole when a step has gone back, by step;
	// the others.
	whole [][]want
	rest  []want
	rows  *rows // how batches are cut in parts; nil: they are not

	mu   sync.Mutex
	runs uint64
	free []*State
}

// A step is one node that the outputs need.
type step struct {
	node    *graph.Node
	op      op.Op
	back    op.Differentiable // nil where no gradient goes through the node
	into    op.Overwriter     // back, where it can overwrite gradients
	pieces  op.Piecewise      // into, where the second input is a constant that nothing else reads
	inPlace bool              // the first output may take the first input's memory
	in, out []int             // slots, −1 where one is left out
	random  bool
	dynamic bool
	seed    uint64
}

// A want is a value of Options.Wrt, by its slot and its place there.
type want struct{ slot, place int }

// A NotDifferentiableError names all nodes on a path from a value of
// Options.Wrt to an output that have no gradient.
type NotDifferentiableError struct{ Nodes []*graph.Node }

func (e *NotDifferentiableError) Error() string {
	names := make([]string, len(e.Nodes))
	for i, n := range e.Nodes {
		names[i] = n.String()
	}
	return "no gradient goes through " + strings.Join(names, ", ")
}

// New prepares the gradients of m's outputs. m stays the caller's, but its
// nodes must not change while the program is used. The error is a
// *runtime.UnsupportedError where nodes that the outputs need cannot be run,
// and a *NotDifferentiableError where they can be run but not differentiated.
func New(m *graph.Model, o Options) (*Program, error) {
	outputs := o.Outputs
	if outputs == nil {
		outputs = m.Graph.Outputs
	}
	for _, v := range slices.Concat(o.Wrt, outputs, o.Keep) {
		if v == nil || m.Graph.Value(v.Name()) != v {
			return nil, fmt.Errorf("%v is no value of the model's graph", v)
		}
	}
	order, err := m.Graph.Sorted()
	if err != nil {
		return nil, err
	}
	facts, err := op.Infer(m, nil)
	if err != nil {
		return nil, err
	}
	p := &Program{pool: o.Pool, seed: o.Seed, slots: map[*graph.Value]int{}}
	for _, v := range m.Graph.Inputs {
		if v.Init() == nil {
			p.inputs = append(p.inputs, v)
			p.slot(v)
		}
	}
	nodes := needed(order, slices.Concat(outputs, o.Keep))
	if err := runnable(nodes, facts); err != nil {
		return nil, err
	}
	steps, bare := fuse(nodes, facts, slices.Concat(o.Wrt, outputs, o.Keep))
	for _, f := range steps {
		p.step(f)
	}
	dtype := func(v *graph.Value) tensor.DType {
		if like, ok := bare[v]; ok {
			v = like
		}
		return facts.Of(v).DType
	}
	for _, v := range outputs {
		p.outputs = append(p.outputs, p.slot(v))
	}
	for _, v := range o.Keep {
		p.slot(v)
	}
	if err := p.paths(dtype, o.Wrt); err != nil {
		return nil, err
	}
	p.lifetimes(dtype, o.Keep)
	p.completions(o.Wrt)
	p.rows = p.byRows(o)
	return p, nil
}

// needed is the nodes of order that outputs depend on, without those that
// make constants.
func needed(order []*graph.Node, outputs []*graph.Value) []*graph.Node {
	wanted := map[*graph.Value]bool{}
	for _, v := range outputs {
		wanted[v] = true
	}
	var nodes []*graph.Node
	for _, n := range slices.Backward(order) {
		if !slices.ContainsFunc(n.Outputs(), func(v *graph.Value) bool { return v != nil && wanted[v] && v.Const() == nil }) {
			continue
		}
		nodes = append(nodes, n)
		for _, v := range n.Inputs() {
			wanted[v] = true
		}
		if len(n.Subgraphs()) > 0 {
			for _, v := range n.Captures() {
				wanted[v] = true
			}
		}
	}
	slices.Reverse(nodes)
	return nodes
}

// runnable fails where a node cannot be run: one that inference could not
// pass, or one with subgraphs.
func runnable(nodes []*graph.Node, facts *op.Facts) error {
	problems := map[*graph.Node]error{}
	for _, q := range facts.Problems {
		problems[q.Node] = q.Err
	}
	var missing runtime.UnsupportedError
	var wrong []error
	for _, n := range nodes {
		err := problems[n]
		if err == nil && len(n.Subgraphs()) > 0 {
			err = fmt.Errorf("%v: %w", n, &op.Unsupported{Domain: n.Domain, OpType: n.OpType, Detail: "in a run with gradients"})
		}
		var u *op.Unsupported
		if errors.As(err, &u) {
			missing.Nodes = append(missing.Nodes, op.Problem{Node: n, Err: err})
		} else if err != nil {
			wrong = append(wrong, err)
		}
	}
	switch {
	case len(wrong) > 0:
		return fmt.Errorf("%w: %w", runtime.ErrInvalid, errors.Join(wrong...))
	case len(missing.Nodes) > 0:
		return &missing
	}
	return nil
}

// slot numbers v.
func (p *Program) slot(v *graph.Value) int {
	if v == nil {
		return -1
	}
	k, ok := p.slots[v]
	if !ok {
		k = len(p.slots)
		p.slots[v] = k
		if v.Const() != nil {
			p.consts = append(p.consts, v)
		}
	}
	return k
}

func (p *Program) step(f fused) {
	s := step{node: f.node, op: f.op}
	if _, s.random = s.op.(op.Random); s.random {
		h := fnv.New64a()
		h.Write([]byte(f.node.Label()))
		s.seed = h.Sum64()
	}
	_, s.dynamic = s.op.(op.Dynamic)
	_, s.inPlace = s.op.(op.InPlace)
	for _, v := range f.in {
		s.in = append(s.in, p.slot(v))
	}
	for _, v := range f.out {
		s.out = append(s.out, p.slot(v))
	}
	p.steps = append(p.steps, s)
}

// paths finds out which values lie between wrt and the outputs, and fails
// where a node between them has no gradient.
func (p *Program) paths(dtype func(*graph.Value) tensor.DType, wrt []*graph.Value) error {
	n := len(p.slots)
	// Only numbers that vary continuously carry gradients.
	float, narrow := make([]bool, n), make([]bool, n)
	for v, k := range p.slots {
		d := dtype(v)
		narrow[k] = d == tensor.Float16 || d == tensor.BFloat16
		float[k] = narrow[k] || d == tensor.Undefined || d == tensor.Float32 || d == tensor.Float64
	}
	p.wrt = make([]bool, n)
	depends, reaches := make([]bool, n), make([]bool, n)
	for _, v := range wrt {
		if k, ok := p.slots[v]; ok {
			p.wrt[k], depends[k] = true, float[k]
		}
	}
	for _, k := range p.outputs {
		reaches[k] = float[k]
	}
	among := func(slots []int, set []bool) bool {
		return slices.ContainsFunc(slots, func(k int) bool { return k >= 0 && set[k] })
	}
	spread := func(from, to []int, set []bool) {
		if among(from, set) {
			for _, k := range to {
				if k >= 0 && float[k] {
					set[k] = true
				}
			}
		}
	}
	for i := range p.steps {
		spread(p.steps[i].in, p.steps[i].out, depends)
	}
	for i := range slices.Backward(p.steps) {
		spread(p.steps[i].out, p.steps[i].in, reaches)
	}
	p.carries = make([]bool, n)
	for k := range p.carries {
		p.carries[k] = depends[k] && reaches[k]
	}
	var bad NotDifferentiableError
	for i := range p.steps {
		s := &p.steps[i]
		if !among(s.in, p.carries) || !among(s.out, p.carries) {
			continue
		}
		s.back = op.AsDifferentiable(s.op)
		s.into, _ = s.back.(op.Overwriter)
		if s.back == nil || among(s.out, narrow) {
			bad.Nodes = append(bad.Nodes, s.node)
		}
	}
	if len(bad.Nodes) > 0 {
		return &bad
	}
	return nil
}

// lifetimes finds out which elements are read after the forward run.
func (p *Program) lifetimes(dtype func(*graph.Value) tensor.DType, keep []*graph.Value) {
	p.keep, p.readers = slices.Clone(p.wrt), make([]int, len(p.slots))
	for v, k := range p.slots {
		// Indices and the like, which any Backward may read.
		p.keep[k] = p.keep[k] || !dtype(v).IsFloat()
	}
	for _, k := range p.outputs {
		p.keep[k] = true
	}
	for _, v := range keep {
		p.keep[p.slots[v]] = true
	}
	for i := range p.steps {
		s := &p.steps[i]
		for _, k := range s.in {
			if k >= 0 {
				p.readers[k]++
			}
		}
		if s.back == nil {
			continue
		}
		want := make([]bool, len(s.in))
		for j, k := range s.in {
			want[j] = k >= 0 && p.carries[k]
		}
		in, out := op.Saves(s.back, want)
		for j, k := range s.in {
			if k >= 0 && in[j] {
				p.keep[k] = true
			}
		}
		for j, k := range s.out {
			if k >= 0 && out && op.SavesOutput(s.back, j) {
				p.keep[k] = true
			}
		}
	}
}

// Inputs is the graph inputs that a Forward takes, in order: those without
// initializer. The caller must not change the slice.
func (p *Program) Inputs() []*graph.Value { return p.inputs }
