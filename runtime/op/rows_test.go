package op

import (
	"testing"

	"bilinc/runtime/tensor"
)

// Blocks and rows give what the functions of float64 give, whatever the length.
func TestRowsOfFloat32(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 300} {
		x := tensor.Data[float32](random(4, n))
		for _, name := range []string{"Exp", "Sigmoid", "Tanh", "Erf", "Sqrt", "Reciprocal", "Neg", "Abs", "HardSwish", "Ceil", "Softplus"} {
			o, err := parseOp(opTest{op: name, opset: 20, in: []*tensor.Tensor{counting(n)}}, 1)
			if err != nil {
				t.Fatal(err)
			}
			narrow, wide := list(x...), as(tensor.Float64, list(x...))
			got, err := Eval(&Ctx{}, o, []tensor.Value{tensor.ValueOf(narrow)}, 1)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Eval(&Ctx{}, o, []tensor.Value{tensor.ValueOf(wide)}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := sameTensor(got[0].Tensor, as(tensor.Float32, want[0].Tensor), closeTo); err != nil {
				t.Errorf("%s of %d elements: %v", name, n, err)
			}
		}
	}
}
