package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Eval runs o on its own: it infers from the types and contents of in, makes
// the nOut outputs and computes them. It serves a node whose output shapes
// are known only once its inputs are, and whoever runs a single node.
func Eval(ctx *Ctx, o Op, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	facts := make([]graph.Fact, len(in))
	for i, v := range in {
		facts[i] = factOf(v)
	}
	out, err := o.Infer(facts, nOut)
	if err != nil {
		return nil, err
	}
	if d, ok := o.(Dynamic); ok {
		return d.Run(ctx, in, nOut)
	}
	results := make([]tensor.Value, len(out))
	for i, f := range out {
		shape, ok := graph.Ints(f.Shape)
		if f.Kind != tensor.KindTensor || !f.Ranked || !ok || !f.DType.Valid() {
			return nil, fmt.Errorf("output %d is %v even from the inputs' contents", i, f.Type)
		}
		if _, err := tensor.Elements(shape); err != nil {
			return nil, err
		}
		results[i] = tensor.ValueOf(tensor.New(f.DType, shape...))
	}
	if err := o.Forward(ctx, in, results); err != nil {
		return nil, err
	}
	return results, nil
}

// factOf is all that can be known of a value.
func factOf(v tensor.Value) graph.Fact {
	if v.Kind == tensor.KindTensor {
		return graph.FactOf(v.Tensor)
	}
	return graph.Fact{Type: graph.Type{Kind: v.Kind}}
}
