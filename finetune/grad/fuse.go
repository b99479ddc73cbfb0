package grad

import (
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A fused is what a step does: a node, a part of one, or two in one pass.
type fused struct {
	node    *graph.Node
	op      op.Op
	in, out []*graph.Value
}

// fuse takes the biases out of products and puts ReLUs into biases: each is
// one pass over the activations then, forward and back. Into bilinear layers it
// puts both. Values that are asked
// for stay what some step gives out. bare is the values that no node has, each
// with one that is of its type.
func fuse(nodes []*graph.Node, facts *op.Facts, fixed []*graph.Value) (steps []fused, bare map[*graph.Value]*graph.Value) {
	readers := map[*graph.Value]int{}
	for _, n := range nodes {
		for _, v := range n.Inputs() {
			readers[v]++
		}
	}
	layers := bilinears(nodes, facts, readers, fixed)
	// By output, the places in steps of what ReLU and biases can be put into.
	biases, bilinear := map[*graph.Value]int{}, map[*graph.Value]int{}
	alone := func(v *graph.Value) bool { return readers[v] == 1 && !slices.Contains(fixed, v) }
	bare = map[*graph.Value]*graph.Value{}
	parts := graph.New("parts", nil)
	for _, n := range nodes {
		f := fused{n, facts.Op(n), n.Inputs(), n.Outputs()}
		if l, ok := layers[n]; ok {
			if l.out != nil { // the last of its nodes
				t, err := parts.NewValue(parts.FreshName("T"), graph.Type{})
				if err != nil {
					return nil, nil // never: the name is free
				}
				bare[t] = l.out
				bilinear[l.out], biases[l.out] = len(steps), len(steps)
				steps = append(steps, fused{n, l.op, l.in, []*graph.Value{l.out, t}})
			}
			continue
		}
		switch product, ok := op.WithoutBias(f.op); {
		case ok && len(f.in) > 2 && isRow(facts.Of(f.in[2]), facts.Of(f.out[0])):
			sum, err := parts.NewValue(parts.FreshName("product"), graph.Type{})
			if err != nil {
				break // never: the name is free
			}
			bare[sum] = f.out[0]
			steps = append(steps, fused{n, product, f.in[:2], []*graph.Value{sum}})
			f = fused{n, op.NewBias(false), []*graph.Value{sum, f.in[2]}, f.out}
			biases[f.out[0]] = len(steps)
		case op.IsSum(f.op) && f.in[0] != f.in[1]:
			x, b := row(f.in, facts)
			if x == nil {
				break
			}
			if k, ok := bilinear[x]; ok && alone(x) && b.Const() != nil && facts.Of(b).DType == tensor.Float32 {
				s := &steps[k]
				s.node, s.in, s.out[0] = n, append(s.in, b), f.out[0]
				bare[s.out[1]] = f.out[0]
				biases[f.out[0]] = k
				continue
			}
			f.op, f.in = op.NewBias(false), []*graph.Value{x, b}
			biases[f.out[0]] = len(steps)
		case op.IsRelu(f.op):
			k, ok := biases[f.in[0]]
			if !ok || !alone(f.in[0]) {
				break
			}
			s := &steps[k]
			s.node = n
			if l, ok := s.op.(*op.BilinearStep); ok {
				l.Relu, s.out[0], bare[s.out[1]] = true, f.out[0], f.out[0]
			} else {
				s.op, s.out = op.NewBias(true), f.out
			}
			continue
		}
		steps = append(steps, f)
	}
	return steps, bare
}

// row is the operand of a sum to whose rows the other one is added, and that;
// nil where there is none.
func row(in []*graph.Value, facts *op.Facts) (x, b *graph.Value) {
	for i := range 2 {
		if isRow(facts.Of(in[1-i]), facts.Of(in[i])) {
			return in[i], in[1-i]
		}
	}
	return nil, nil
}

// isRow reports whether b is known to be a row of more than one element, which
// a sum adds to each row of x.
func isRow(b, x graph.Fact) bool {
	shape, ok := graph.Ints(b.Shape)
	if !b.Ranked || !ok || len(shape) == 0 || !x.Ranked || len(x.Shape) < len(shape) || !isFloat(b) || b.DType != x.DType {
		return false
	}
	n := shape[len(shape)-1]
	for _, d := range shape[:len(shape)-1] {
		if d != 1 {
			return false
		}
	}
	return n > 1 && x.Shape[len(x.Shape)-1].Is(n)
}

func isFloat(f graph.Fact) bool { return f.DType == tensor.Float32 || f.DType == tensor.Float64 }
