package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// qLinearConv is a convolution of quantised numbers: X and W with scales and
// zero points, those of W one or one for each output channel, the sums plus an
// int32 bias requantised with a third pair.
type qLinearConv struct{ conv }

func parseQLinearConv(a *attrs) Op { return &qLinearConv{*newConv(a)} }

func (o *qLinearConv) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 8, 9); err != nil {
		return nil, err
	}
	x, w := in[0], in[3]
	for i, zero := range map[int]int{0: 2, 3: 5} {
		if _, err := sameDType([]graph.Fact{in[i], in[zero]}); err != nil {
			return nil, fmt.Errorf("input %d and its zero point: %w", i, err)
		}
	}
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		n, ok := graph.Product(in[i].Shape).Const()
		if !in[i].Ranked || !ok || n == 1 {
			continue
		}
		if i != 4 && i != 5 || w.Ranked && len(w.Shape) > 0 && differ(w.Shape[0], graph.Size(n)) {
			return nil, fmt.Errorf("input %d is %v for W %v", i, in[i].Type, w.Type)
		}
	}
	bias := graph.Fact{}
	if given(in, 8) {
		if bias = in[8]; bias.DType != tensor.Int32 && bias.DType != tensor.Undefined {
			return nil, fmt.Errorf("the bias is %v, wanted int32", bias.DType)
		}
	}
	return o.infer(in[7].DType, x, w, bias)
}

func (o *qLinearConv) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, w, y := in[0].Tensor, in[3].Tensor, out[0].Tensor
	scratch := intScratches.get(y.Len())
	defer intScratches.Put(scratch)
	acc := *scratch
	err := convolveBytes(ctx, &o.conv, x, w, in[2].Tensor, in[5].Tensor, optional(in, 8), tensor.Of(acc, y.Shape()...))
	if err != nil {
		return err
	}
	var scales [3][]float64
	for i, k := range []int{1, 4, 6} {
		if scales[i], err = tensor.Float64s(in[k].Tensor); err != nil {
			return err
		}
	}
	zero, ok := intsIn(in[7].Tensor)
	if !ok {
		return unsupportedType("QLinearConv", in[7].Tensor.DType())
	}
	by := make([]float64, y.Shape()[1])
	for i := range by {
		by[i] = float64(float32(scales[0][0]*scales[1][i%len(scales[1])]) / float32(scales[2][0]))
	}
	return requantizeTo(ctx, "QLinearConv", y, acc, product(y.Shape()[2:]), 1, by, zero[0])
}

// hasGradient hides conv's Backward, which is not that of quantised numbers.
func (o *qLinearConv) hasGradient() bool { return false }
