package op

import (
	"fmt"
	"math/rand/v2"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// identity gives its input out, whatever its kind. A sequence or an optional
// is passed on by whoever runs the node: see View.
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
	most     int  // inputs: ratio and training_mode are among them from opset 12 on
	boolMask bool // the mask is boolean (from opset 10)
	masked   bool // the mask is wanted
}

// parseDropout takes a node for one that drops nothing unless its input
// training_mode is there and may be true.
func parseDropout(a *attrs) Op {
	o := dropout{most: 1, boolMask: a.opset >= 10, masked: len(a.node.Outputs()) > 1 && a.node.Outputs()[1] != nil}
	if a.opset < 12 {
		a.float("ratio", 0.5)
		return &o
	}
	o.most = 3
	t := &trainingDropout{dropout: o}
	if at := a.get("seed", graph.AttrInt); at != nil {
		s := uint64(at.I)
		t.seed = &s
	}
	mode := a.node.Input(2)
	if mode == nil {
		return &o
	}
	if c := mode.Const(); c != nil && c.DType() == tensor.Bool && c.Len() == 1 && !tensor.Data[bool](c)[0] {
		return &o
	}
	return t
}

func (o *dropout) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 1, o.most); err != nil {
		return nil, err
	}
	for i := 1; i < len(in); i++ {
		if n, ok := graph.Product(in[i].Shape).Const(); given(in, i) && in[i].Ranked && ok && n != 1 {
			return nil, fmt.Errorf("input %d is %v, wanted a scalar", i, in[i].Type)
		}
	}
	if nOut > 2 {
		return nil, fmt.Errorf("found %d outputs, wanted at most 2", nOut)
	}
	out := []graph.Fact{in[0]}
	if nOut > 1 {
		mask := graph.Fact{Type: in[0].Type}
		if o.boolMask {
			mask.DType = tensor.Bool
		}
		out = append(out, mask)
	}
	return out, nil
}

func (o *dropout) IsView([]graph.Fact) bool { return !o.masked }

func (o *dropout) Forward(_ *Ctx, in, out []tensor.Value) error {
	if present(out, 1) {
		if err := storeFloats(filled(out[1].Tensor.Len(), 1), out[1].Tensor); err != nil {
			return err
		}
	}
	return out[0].Tensor.CopyFrom(in[0].Tensor)
}

func (o *dropout) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error {
	return addBack("Dropout", dout, din)
}

// trainingDropout zeroes each element with the probability ratio (½ where the
// input is left out) and scales the others by 1/(1 − ratio), if training_mode
// is true in the run.
type trainingDropout struct {
	dropout
	seed *uint64
}

// IsRandom marks the operator.
func (o *trainingDropout) IsRandom() {}

func (o *trainingDropout) IsView([]graph.Fact) bool { return false }

func (o *trainingDropout) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	out, err := o.dropout.Infer(in, nOut)
	if err != nil {
		return nil, err
	}
	if !given(in, 2) {
		return nil, fmt.Errorf("input 2 is left out")
	}
	if d := in[2].DType; d != tensor.Bool && d != tensor.Undefined {
		return nil, fmt.Errorf("training_mode is %v, wanted a bool", in[2].Type)
	}
	out[0].Const, out[0].Ints = nil, nil
	return out, nil
}

func (o *trainingDropout) Forward(ctx *Ctx, in, out []tensor.Value) error {
	if !tensor.Data[bool](in[2].Tensor)[0] {
		return o.dropout.Forward(ctx, in, out)
	}
	ratio, err := o.ratio(in)
	if err != nil {
		return err
	}
	r, err := sourceOf(ctx, o.seed)
	if err != nil {
		return err
	}
	defer r.giveBack()
	x, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return unsupportedType("Dropout", in[0].Tensor.DType())
	}
	mask := drop(r.Rand, x, ratio)
	if present(out, 1) {
		copy(tensor.Data[bool](out[1].Tensor), mask)
	}
	return storeFloats(x, out[0].Tensor)
}

// ratio is the second input.
func (o *trainingDropout) ratio(in []tensor.Value) (float64, error) {
	if !present(in, 1) {
		return 0.5, nil
	}
	v, err := tensor.Float64s(in[1].Tensor)
	if err != nil {
		return 0, unsupportedType("Dropout", in[1].Tensor.DType())
	}
	if !(v[0] >= 0 && v[0] < 1) {
		return 0, fmt.Errorf("ratio is %v, wanted 0 to below 1", v[0])
	}
	return v[0], nil
}

// drop thins out x and returns which elements were kept.
func drop(r *rand.Rand, x []float64, ratio float64) []bool {
	kept := make([]bool, len(x))
	scale := 1 / (1 - ratio)
	for i := range x {
		if kept[i] = r.Float64() >= ratio; kept[i] {
			x[i] *= scale
		} else {
			x[i] = 0
		}
	}
	return kept
}
