package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// identity gives its input out, whatever its kind.
type identity struct{}

func parseIdentity(*attrs) Op { return identity{} }

func (identity) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return []graph.Fact{in[0]}, nil
}

func (identity) IsView([]graph.Fact) bool { return true }

func (identity) Forward(_ *Ctx, in, out []tensor.Value) error {
	if in[0].Kind != tensor.KindTensor {
		return unsupportedKind("Identity", in[0].Kind)
	}
	return out[0].Tensor.CopyFrom(in[0].Tensor)
}

func (identity) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error {
	return addBack("Identity", dout, din)
}

func unsupportedKind(opType string, k tensor.Kind) error {
	return &Unsupported{OpType: opType, Detail: "for a " + k.String()}
}

// dropout passes its input through, as it does whenever a network is run
// rather than trained; its mask is all true then.
type dropout struct {
	inputs   bool // ratio and training_mode are inputs (from opset 12)
	boolMask bool // the mask is boolean (from opset 10)
}

func parseDropout(a *attrs) Op {
	if a.opset < 12 {
		a.float("ratio", 0.5)
		return &dropout{boolMask: a.opset >= 10}
	}
	a.int("seed", 0)
	return &dropout{inputs: true, boolMask: true}
}

func (o *dropout) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	most := 1
	if o.inputs {
		most = 3
	}
	if err := arity(in, 1, most); err != nil {
		return nil, err
	}
	if given(in, 2) && (in[2].Const == nil || in[2].Const.DType() != tensor.Bool || tensor.Data[bool](in[2].Const)[0]) {
		return nil, &Unsupported{OpType: "Dropout", Detail: "in training mode"}
	}
	out := []graph.Fact{{Type: in[0].Type, Ints: in[0].Ints}}
	if nOut > 1 {
		mask := graph.Fact{Type: in[0].Type}
		if o.boolMask {
			mask.DType = tensor.Bool
		}
		out = append(out, mask)
	}
	if nOut > 2 {
		return nil, fmt.Errorf("found %d outputs, wanted at most 2", nOut)
	}
	return out, nil
}

func (o *dropout) IsView([]graph.Fact) bool { return true }

func (o *dropout) Forward(_ *Ctx, in, out []tensor.Value) error {
	if len(out) > 1 && out[1].Kind == tensor.KindTensor {
		if err := storeFloats(filled(out[1].Tensor.Len(), 1), out[1].Tensor); err != nil {
			return err
		}
	}
	return out[0].Tensor.CopyFrom(in[0].Tensor)
}

func (o *dropout) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error {
	return addBack("Dropout", dout, din)
}
