package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// sequenceMap runs its body on each element of a sequence and gathers what the
// body gives in sequences. Further inputs are sequences of the same length,
// or tensors that every call of the body gets.
type sequenceMap struct {
	noForward
	body *graph.Graph
}

func parseSequenceMap(a *attrs) Op { return &sequenceMap{body: a.graph("body")} }

func (o *sequenceMap) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, max(1, len(in)), -1); err != nil {
		return nil, err
	}
	if err := wantKind(in[0], 0, tensor.KindSequence); err != nil {
		return nil, err
	}
	if err := takesInputs(o.body, len(in)); err != nil {
		return nil, err
	}
	if len(o.body.Outputs) != nOut {
		return nil, fmt.Errorf("body %q has %d outputs, wanted %d", o.body.Name, len(o.body.Outputs), nOut)
	}
	out := make([]graph.Fact, nOut)
	for i, v := range o.body.Outputs {
		// A shape that the body declares is not relied on.
		out[i] = sequenceFact(graph.Type{Kind: v.Type.Kind, DType: v.Type.DType})
	}
	return out, nil
}

func (o *sequenceMap) Run(ctx *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	n := len(in[0].Elems)
	for i, v := range in {
		if v.Kind == tensor.KindSequence && len(v.Elems) != n {
			return nil, fmt.Errorf("input %d has %d elements, input 0 has %d", i, len(v.Elems), n)
		}
	}
	out := make([]tensor.Value, nOut)
	for j := range out {
		out[j].Kind = tensor.KindSequence
	}
	for k := range n {
		args := make([]tensor.Value, len(in))
		for i, v := range in {
			if args[i] = v; v.Kind == tensor.KindSequence {
				args[i] = v.Elems[k]
			}
		}
		results, err := ctx.call(o.body, args)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", k, err)
		}
		for j, r := range results {
			out[j].Elems = append(out[j].Elems, r)
		}
	}
	return out, nil
}
