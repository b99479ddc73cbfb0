package grad

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A program whose rows go through the model apart from one another, and whose
// gradients are few beside its activations, runs a batch in parts: each on one
// thread from end to end, forward and back, with a sum of gradients of its own.
// Threads meet three times in a step then, and not in each of dozens of loops. The
// parts follow from the sizes alone, so that the bits do not depend on the threads.

const (
	// A part costs some 10 µs that the whole would not; more parts share out better where a
	// thread is held up. A batch is run in mostParts or fewParts if each has largePart
	// elements of activations, some 0.25 ms of work, or in two of leastPart.
	mostParts, fewParts = 8, 4
	largePart           = 5 << 16
	leastPart           = 1 << 17
	// leastRows is the rows of a part: products of fewer do not fill their tiles.
	leastRows = 8
)

// rows is what of a program follows the rows of its batches.
type rows struct {
	in    []graph.Fact // of the inputs, with batchRows along the first axes that are in rows
	has   []bool       // by slot: whether it is in rows
	asked []int        // the slots of outputs and of Options.Keep that steps make
	// What steps make, by their shapes, and what is trained, in elements: the ways of
	// cutting are compared with them.
	sizes  [][]graph.Dim
	params int
	ways   []way
}

// A way of cutting a batch: the number of parts, and the elements of activations that
// each has at least.
type way struct{ parts, least int }

// batchRows is the rows of a batch; no model's symbol has spaces around it.
var batchRows = graph.Symbol(" rows ")

// byRows finds out what follows the rows of a batch; nil where rows do not go through
// the model apart from one another, or more is wanted than what parts can give.
func (p *Program) byRows(o Options) *rows {
	r := &rows{has: make([]bool, len(p.slots)), ways: []way{{mostParts, largePart}, {fewParts, largePart}, {2, leastPart}}}
	cuts, facts := make([]op.Cut, len(p.slots)), make([]graph.Fact, len(p.slots))
	for _, v := range p.inputs {
		f, ok := inputFact(v)
		if !ok {
			return nil
		}
		k := p.slots[v]
		if facts[k] = f; len(f.Shape) > 0 && f.Shape[0] == batchRows {
			cuts[k] = op.InRows
		}
		r.in = append(r.in, f)
	}
	for _, v := range p.consts {
		facts[p.slots[v]] = graph.FactOf(v.Const())
	}
	for i := range p.steps {
		if !r.step(&p.steps[i], facts, cuts) {
			return nil
		}
	}
	for k, c := range cuts {
		r.has[k] = c == op.InRows
	}
	for _, v := range o.Wrt {
		k, ok := p.slots[v]
		if v.Const() == nil {
			return nil
		}
		if ok && p.carries[k] {
			r.params += v.Const().Len()
		}
	}
	for k, asked := range p.asked(o) {
		if asked {
			if !r.has[k] {
				return nil
			}
			r.asked = append(r.asked, k)
		}
	}
	return r
}

// asked is which slots are Outputs or Options.Keep, and neither inputs nor constants.
func (p *Program) asked(o Options) []bool {
	asked := make([]bool, len(p.slots))
	for _, k := range p.outputs {
		asked[k] = true
	}
	for _, v := range o.Keep {
		asked[p.slots[v]] = true
	}
	for _, v := range p.inputs {
		asked[p.slots[v]] = false
	}
	for _, v := range p.consts {
		asked[p.slots[v]] = false
	}
	return asked
}

// inputFact is what is known of an input, with batchRows in the place of a first
// dimension that is free; false where rows of it cannot be told apart.
func inputFact(v *graph.Value) (graph.Fact, bool) {
	f := graph.Fact{Type: v.Type}
	if f.Kind != tensor.KindTensor || !f.Ranked || f.DType.Bits() < 8 {
		return f, false
	}
	f.Shape = append([]graph.Dim{}, f.Shape...)
	for i, d := range f.Shape {
		_, fixed := d.Const()
		switch {
		case fixed:
		case i == 0:
			f.Shape[i] = batchRows
		case !d.IsKnown():
			f.Shape[i] = graph.Symbol(fmt.Sprintf("%s.%d", v.Name(), i))
		}
	}
	return f, true
}

// step finds out how the outputs of a step follow, and reports whether they do.
func (r *rows) step(st *step, facts []graph.Fact, cuts []op.Cut) bool {
	in, ways := make([]graph.Fact, len(st.in)), make([]op.Cut, len(st.in))
	for j, k := range st.in {
		if k >= 0 {
			in[j], ways[j] = facts[k], cuts[k]
		}
	}
	out, err := op.InferNode(st.op, in, len(st.out))
	if err != nil {
		return false
	}
	way, ok := op.ByRows(st.op, batchRows, in, out, ways)
	if !ok {
		return false
	}
	_, view := st.op.(op.View)
	for j, k := range st.out {
		if k < 0 {
			continue
		}
		facts[k], cuts[k] = out[j], way
		if way == op.InRows && !view && out[j].DType.IsFloat() {
			r.sizes = append(r.sizes, out[j].Shape)
		}
	}
	return true
}

// parts is how many parts a batch of these inputs is run in, and its rows; 1 where it
// stays whole.
func (r *rows) parts(in []tensor.Value) (parts, n int) {
	sizes, n := map[string]int{}, -1
	for i, f := range r.in {
		for a, d := range f.Shape {
			size := in[i].Tensor.Shape()[a]
			switch {
			case d != batchRows:
				sizes[d.String()] = size
			case n >= 0 && n != size: // the model will say what it thinks of that
				return 1, n
			default:
				n = size
			}
		}
	}
	sizes[batchRows.String()] = n
	active := 0
	for _, shape := range r.sizes {
		if size, ok := graph.Product(shape).Eval(sizes); ok {
			active += size
		}
	}
	for _, w := range r.ways {
		if n >= w.parts*leastRows && active >= w.parts*max(w.least, r.params) {
			return w.parts, n
		}
	}
	return 1, n
}
