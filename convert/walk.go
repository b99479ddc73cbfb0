package convert

import (
	"context"
	"fmt"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// walkMemory bounds the activations that a walk keeps, in bytes.
const walkMemory = 320 << 20

// A walk runs a model from its inputs to its outputs in stretches, one after
// the other, over all batches each time. Between them it keeps the values that
// what is left of the model reads, so that nodes after them may change. Where
// these take too much memory the next stretch begins where this one did.
type walk struct {
	model    *graph.Model
	original *Calibration
	names    []string               // of the values that are kept; nil: the stretch begins at the inputs
	kept     map[int][]tensor.Value // by batch
}

// A stretch is a part of a walk's model, compiled.
type stretch struct {
	walk    *walk
	program *runtime.Program
	targets []int // the index in the outputs, or −1−i for kept value i
	next    []string
	from    map[string]int         // input of the program → index of a kept value
	kept    map[int][]tensor.Value // what the next stretch begins with; nil: what this one did
}

// stretch compiles the part of the model up to targets.
func (c *Calibration) stretch(w *walk, targets []string) (*stretch, error) {
	s := &stretch{walk: w, from: map[string]int{}, kept: map[int][]tensor.Value{}}
	m, cut, err := w.cut()
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, n := range targets {
		if i := slices.Index(w.names, n); i >= 0 {
			s.targets = append(s.targets, -1-i)
			continue
		}
		s.targets = append(s.targets, len(wanted))
		wanted = append(wanted, n)
	}
	s.next = frontier(w.model.Graph, targets)
	var values []*graph.Value
	for _, n := range append(wanted, s.next...) {
		v := m.Graph.Value(n)
		if v == nil {
			return nil, fmt.Errorf("the model has no value %q", n)
		}
		if in, ok := cut[n]; ok {
			v = in
		}
		values = append(values, v)
	}
	for i, n := range w.names {
		s.from[cut[n].Name()] = i
	}
	s.program, err = runtime.Compile(m, runtime.Options{Pool: c.pool, Seed: c.seed, Outputs: values})
	return s, err
}

// cut is a copy of the model that takes the kept values as inputs.
func (w *walk) cut() (*graph.Model, map[string]*graph.Value, error) {
	m := w.model
	if len(w.names) == 0 {
		return m, nil, nil
	}
	m = m.Clone()
	g := m.Graph
	cut := map[string]*graph.Value{}
	for i, n := range w.names {
		v := g.Value(n)
		if v == nil {
			return nil, nil, fmt.Errorf("the model has no value %q", n)
		}
		in, err := g.AddInput(g.FreshName(n+".kept"), w.typeOf(i))
		if err != nil {
			return nil, nil, err
		}
		cut[n] = in
		for _, u := range slices.Clone(v.Uses()) {
			u.Node.SetInput(u.Input, in)
		}
	}
	return m, cut, nil
}

// typeOf is the type of a kept value: that of the tensors, whose dimensions
// keep the original's symbols. Sizes that batches need not share are open.
func (w *walk) typeOf(i int) graph.Type {
	first := -1
	for k := range w.kept {
		if first < 0 || k < first {
			first = k
		}
	}
	if first < 0 {
		return graph.Type{}
	}
	t := w.kept[first][i].Tensor
	typ := graph.TensorType(t.DType(), make([]graph.Dim, t.Rank())...)
	known := graph.Fact{}
	if v := w.original.model.Graph.Value(w.names[i]); v != nil {
		known = w.original.found.facts.Of(v)
	}
	for d, n := range t.Shape() {
		typ.Shape[d] = graph.Unknown
		if known.Ranked && len(known.Shape) == t.Rank() {
			if _, fixed := known.Shape[d].Const(); !fixed || known.Shape[d].Is(n) {
				typ.Shape[d] = known.Shape[d]
			}
		}
	}
	return typ
}

// frontier is the values that nodes read which are not needed for the targets,
// made by nodes that are; the targets among them.
func frontier(g *graph.Graph, targets []string) []string {
	behind := map[*graph.Node]bool{}
	var stack []*graph.Value
	for _, n := range targets {
		stack = append(stack, g.Value(n))
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v == nil || v.Producer() == nil || behind[v.Producer()] || v.Const() != nil {
			continue
		}
		n := v.Producer()
		behind[n] = true
		stack = append(append(stack, n.Inputs()...), n.Captures()...)
	}
	var out []string
	for _, n := range g.Nodes() {
		if !behind[n] {
			continue
		}
		for _, v := range n.Outputs() {
			if v == nil || v.Const() != nil {
				continue
			}
			for _, u := range v.Uses() {
				if !behind[u.Node] {
					out = append(out, v.Name())
					break
				}
			}
		}
	}
	return out
}

// run runs the stretch on one batch: index is its number.
func (s *stretch) run(ctx context.Context, c *Calibration, index int, b *dataset.Batch) ([]tensor.Value, error) {
	kept := s.walk.kept[index]
	in := make([]tensor.Value, len(s.program.Inputs()))
	for i, port := range s.program.Inputs() {
		if k, ok := s.from[port.Name]; ok {
			in[i] = kept[k]
			continue
		}
		if k := slices.Index(c.data.Inputs, port.Name); k >= 0 {
			in[i] = tensor.ValueOf(b.Inputs[k])
		}
	}
	all, err := s.program.Run(ctx, in)
	if err != nil {
		return nil, dataError(ctx, err)
	}
	out := make([]tensor.Value, len(s.targets))
	for k, i := range s.targets {
		if i < 0 {
			out[k] = kept[-1-i]
		} else {
			out[k] = all[i]
		}
	}
	if s.kept == nil {
		return out, nil
	}
	next, bytes := all[len(all)-len(s.next):], 0
	for _, v := range next {
		if v.Kind != tensor.KindTensor || v.Tensor == nil {
			s.kept = nil // a sequence, say: the next stretch begins where this one did
			return out, nil
		}
		bytes += len(v.Tensor.Bytes())
	}
	// All batches are about as large as the first.
	if len(s.kept) == 0 && bytes*c.batchesInUse() > walkMemory {
		s.kept = nil
		return out, nil
	}
	s.kept[index] = slices.Clone(next)
	delete(s.walk.kept, index)
	return out, nil
}

// done moves the walk to the end of the stretch, if that is kept.
func (s *stretch) done() {
	if s.kept != nil {
		s.walk.names, s.walk.kept = s.next, s.kept
	}
}
