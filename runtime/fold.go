package runtime

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// foldBudget bounds the bytes of what is computed at compile time and kept.
const foldBudget = 256 << 20

// isConstant reports whether all that n makes is known already: n is a
// Constant, or was folded before.
func (b *builder) isConstant(n *graph.Node) bool {
	known := false
	for _, v := range n.Outputs() {
		if v == nil {
			continue
		}
		if b.constant(v) == nil {
			return false
		}
		known = true
	}
	return known
}

// constant is the tensor that v is in every run of the block.
func (b *builder) constant(v *graph.Value) *tensor.Tensor {
	if t := b.consts[v]; t != nil {
		return t
	}
	return v.Const()
}

// fold computes a node whose inputs are all constant, and reports whether all
// its outputs are known now. A node that fails is left for the run, which may
// never come to it.
func (b *builder) fold(n *graph.Node) bool {
	o := b.op(n)
	if o == nil || len(n.Subgraphs()) > 0 {
		return false
	}
	_, random := o.(op.Random)
	_, dynamic := o.(op.Dynamic)
	if random || dynamic {
		return false
	}
	if b.isConstant(n) {
		return true
	}
	facts, values := make([]graph.Fact, len(n.Inputs())), make([]tensor.Value, len(n.Inputs()))
	for i, v := range n.Inputs() {
		if v == nil {
			continue
		}
		t := b.constant(v)
		if t == nil {
			return false
		}
		facts[i], values[i] = graph.FactOf(t), tensor.ValueOf(t)
	}
	err := guard(func() error {
		out, err := o.Infer(facts, len(n.Outputs()))
		if err != nil {
			return err
		}
		size := 0
		for _, f := range out {
			_, bytes, ok := exactType(f)
			if size += bytes; !ok || size > b.budget {
				return fmt.Errorf("%v is too large to keep", f.Type)
			}
		}
		results, err := op.Eval(&op.Ctx{Pool: b.p.pool}, o, values, len(n.Outputs()))
		if err != nil {
			return err
		}
		b.budget -= size
		for i, v := range n.Outputs() {
			if v != nil {
				b.consts[v] = results[i].Tensor
			}
		}
		return nil
	})
	return err == nil
}
