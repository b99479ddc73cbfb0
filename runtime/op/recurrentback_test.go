package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// recurrentIn is X W R B sequence_lens initial_h (initial_c P) of width 2 and hidden size 3.
func recurrentIn(gates, directions, steps, batch int, lens *tensor.Tensor, more int) tensors {
	in := tensors{random(1, steps, batch, 2), random(2, directions, gates*3, 2), random(3, directions, gates*3, 3),
		random(4, directions, 2*gates*3), lens, random(5, directions, batch, 3)}
	if more > 0 {
		in = append(in, random(6, directions, batch, 3))
	}
	if more > 1 {
		in = append(in, random(7, directions, 9))
	}
	return in
}

func TestRecurrentBackward(t *testing.T) {
	lens := tensor.Of([]int32{2, 4}, 2)
	both := attrString("direction", "bidirectional")
	attrs := func(a ...*graph.Attr) []*graph.Attr { return a }
	functions := func(names ...string) *graph.Attr {
		a := &graph.Attr{Name: "activations", Type: graph.AttrStrings}
		for _, n := range names {
			a.Strings = append(a.Strings, []byte(n))
		}
		return a
	}
	turned := func(in tensors) tensors { // layout 1
		for _, i := range []int{0, 5, 6} {
			if i < len(in) {
				s := in[i].Shape()
				in[i] = random(uint64(10+i), s[1], s[0], s[2])
			}
		}
		return in
	}
	runGradTests(t, []gradTest{
		{op: "RNN", opset: 14, in: recurrentIn(1, 1, 4, 2, lens, 0), outs: 2},
		{name: "few inputs", op: "RNN", opset: 14, in: recurrentIn(1, 1, 3, 2, nil, 0)[:3], outs: 2},
		{name: "both ways", op: "RNN", opset: 14, attrs: attrs(both, functions("Affine", "ScaledTanh"), attrFloats("activation_alpha", 0.5, 1.5), attrFloats("activation_beta", 0.1, 0.7)),
			in: recurrentIn(1, 2, 4, 2, lens, 0), outs: 2},
		{op: "GRU", opset: 14, in: recurrentIn(3, 1, 4, 2, lens, 0), outs: 2},
		{name: "linear before reset", op: "GRU", opset: 14, attrs: attrs(attrInt("linear_before_reset", 1), attrString("direction", "reverse")), in: recurrentIn(3, 1, 4, 2, lens, 0), outs: 2},
		{name: "both ways, batch first", op: "GRU", opset: 14, attrs: attrs(both, attrInt("layout", 1), functions("HardSigmoid", "Softsign", "Sigmoid", "Softplus")),
			in: turned(recurrentIn(3, 2, 4, 2, nil, 0)), outs: 2},
		{name: "no bias", op: "GRU", opset: 14, in: recurrentIn(3, 1, 3, 2, nil, 0)[:3], outs: 1},
		{op: "LSTM", opset: 14, in: recurrentIn(4, 1, 4, 2, lens, 2), outs: 3},
		{name: "both ways", op: "LSTM", opset: 14, attrs: attrs(both), in: recurrentIn(4, 2, 4, 2, lens, 2), outs: 3},
		{name: "input forget, batch first", op: "LSTM", opset: 14, attrs: attrs(attrInt("input_forget", 1), attrInt("layout", 1)), in: turned(recurrentIn(4, 1, 3, 2, nil, 2)), outs: 3},
		{name: "clipped", op: "LSTM", opset: 14, attrs: attrs(attrFloat("clip", 0.8)), in: recurrentIn(4, 1, 3, 2, nil, 1), outs: 3},
		{name: "few inputs", op: "LSTM", opset: 14, attrs: attrs(functions("Sigmoid", "Elu", "LeakyRelu")), in: recurrentIn(4, 1, 3, 2, nil, 0)[:3], outs: 3},
	})
}
