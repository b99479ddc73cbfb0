package op

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// recurrent is RNN, GRU and LSTM: a cell that runs over the steps of
// X[S N I] (layout 1: [N S I]) forwards, backwards or both, with the weights
// W[D G·H I], R[D G·H H] and B[D 2·G·H], where D is the number of directions
// and G the number of gates: 1, 3 (z r h) or 4 (i o f c). The equations are
// those of ONNX.
type recurrent struct {
	name         string
	gates        int
	hidden       int // 0: as R says
	directions   int
	reverse      bool // the only direction is backwards
	batchFirst   bool
	activations  []gateFunction // per direction, per use
	clip         float64
	linearBefore bool // GRU: R·h + b is formed before the reset gate
	inputForget  bool // LSTM: f = 1 − i
}

// maxInputs is X W R B sequence_lens initial_h, and for LSTM initial_c and P.
func (o *recurrent) maxInputs() int {
	if o.name == "LSTM" {
		return 8
	}
	return 6
}

func parseRecurrent(name string, gates int, defaults ...string) parser {
	return func(a *attrs) Op {
		o := &recurrent{name: name, gates: gates, directions: 1, clip: float64(a.float("clip", 0)), hidden: int(a.int("hidden_size", 0))}
		switch d := a.string("direction", "forward"); d {
		case "forward":
		case "reverse":
			o.reverse = true
		case "bidirectional":
			o.directions = 2
		default:
			a.fail(fmt.Errorf("attribute direction is %q", d))
		}
		if a.opset >= 14 {
			o.batchFirst = a.bool("layout", false)
		}
		switch name {
		case "GRU":
			o.linearBefore = a.bool("linear_before_reset", false)
		case "LSTM":
			o.inputForget = a.bool("input_forget", false)
		}
		names := a.strings("activations")
		if names == nil {
			for range o.directions {
				names = append(names, defaults...)
			}
		}
		if len(names) != o.directions*len(defaults) {
			a.fail(fmt.Errorf("%d activations, wanted %d", len(names), o.directions*len(defaults)))
		}
		alphas, betas := a.floats("activation_alpha"), a.floats("activation_beta")
		for _, n := range names {
			f, err := activation(n, &alphas, &betas)
			if err != nil {
				a.fail(err)
			}
			o.activations = append(o.activations, f)
		}
		return o
	}
}

func (o *recurrent) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 3, o.maxInputs()); err != nil {
		return nil, err
	}
	floats := slices.Clone(in)
	if given(in, 4) {
		if l := in[4].DType; l != tensor.Undefined && l != tensor.Int32 {
			return nil, fmt.Errorf("sequence_lens is %s, wanted int32", in[4].Type)
		}
		floats = slices.Delete(floats, 4, 5)
	}
	d, err := sameDType(floats)
	if err != nil {
		return nil, err
	}
	steps, batch, width := graph.Unknown, graph.Unknown, graph.Unknown
	if in[0].Ranked {
		if err := withRank(in[0], "X", 3); err != nil {
			return nil, err
		}
		steps, batch, width = in[0].Shape[0], in[0].Shape[1], in[0].Shape[2]
		if o.batchFirst {
			steps, batch = batch, steps
		}
	}
	hidden := graph.Unknown
	if o.hidden > 0 {
		hidden = graph.Size(o.hidden)
	}
	if in[2].Ranked && len(in[2].Shape) == 3 {
		hidden = meet(hidden, in[2].Shape[2])
	}
	directions, gates := graph.Size(o.directions), graph.Size(o.gates)
	state := []graph.Dim{directions, batch, hidden}
	if o.batchFirst {
		state = []graph.Dim{batch, directions, hidden}
	}
	for i, want := range [][]graph.Dim{nil,
		{directions, gates.Mul(hidden), width},
		{directions, gates.Mul(hidden), hidden},
		{directions, graph.Size(2 * o.gates).Mul(hidden)},
		{batch}, state, state, {directions, graph.Size(3).Mul(hidden)}} {
		if i > 0 && given(in, i) && in[i].Ranked && unlike(in[i].Shape, want) {
			return nil, fmt.Errorf("input %d is %s, wanted %s", i, in[i].Type, graph.FormatShape(want, true))
		}
	}
	y := []graph.Dim{steps, directions, batch, hidden}
	if o.batchFirst {
		y = []graph.Dim{batch, steps, directions, hidden}
	}
	out := append(tensorFact(d, y...), tensorFact(d, state...)...)
	if o.name == "LSTM" {
		out = append(out, tensorFact(d, state...)...)
	}
	if nOut > len(out) {
		return nil, fmt.Errorf("found %d outputs, wanted at most %d", nOut, len(out))
	}
	return out[:nOut], nil
}

func (o *recurrent) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch in[0].Tensor.DType() {
	case tensor.Float32:
		return runRecurrent(ctx, o, in, out, &recurrent32, nil)
	case tensor.Float64:
		return runRecurrent(ctx, o, in, out, &recurrent64, nil)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType(o.name, in[0].Tensor.DType())
}

// step is where the t-th step of a direction lies in a sequence.
func (o *recurrent) step(t, direction, length int) int {
	if o.reverse || direction == 1 {
		return length - 1 - t
	}
	return t
}
