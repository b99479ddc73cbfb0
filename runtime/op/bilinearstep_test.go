package op

import (
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestBilinearStepInfer(t *testing.T) {
	o := &BilinearStep{N1: 2, N2: 3, M1: 4, M2: 5, Terms: 2}
	x := graph.Fact{Type: graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(6))}
	b, a := graph.FactOf(random(1, 3, 10)), graph.FactOf(random(2, 4, 4))
	out, err := o.Infer([]graph.Fact{x, b, a}, 2)
	if err != nil || out[0].Type.String() != "float32[N 20]" || out[1].Type.String() != "float32[N 4 5]" {
		t.Errorf("found %v, %v", out, err)
	}
	if out, err := o.Infer([]graph.Fact{{Type: graph.Type{Kind: tensor.KindTensor, DType: tensor.Float32}}, b, a}, 2); err != nil || out[0].Ranked {
		t.Errorf("of an unknown rank: %v, %v", out, err)
	}
	for want, in := range map[string][]graph.Fact{
		"has no rows of 2×3":  {graph.FactOf(random(1, 4, 7)), b, a},
		"not implemented for": {graph.FactOf(as(tensor.Float64, random(1, 4, 6))), graph.FactOf(as(tensor.Float64, random(1, 3, 10))), graph.FactOf(as(tensor.Float64, random(1, 4, 4)))},
	} {
		if _, err := o.Infer(in, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, wanted %q", err, want)
		}
	}
	v := func(x *tensor.Tensor) tensor.Value { return tensor.ValueOf(x) }
	in := []tensor.Value{v(random(1, 4, 6)), v(random(2, 3, 10)), v(random(3, 4, 4))}
	outs, err := Eval(&Ctx{}, o, in, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Backward(&Ctx{}, in, outs, outs, in); err == nil || !strings.Contains(err.Error(), "with a gradient of T") {
		t.Errorf("error is %v", err)
	}
}
