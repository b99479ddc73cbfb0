package op

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// The loops over float32 give the gradients of the plain ones in float64, over
// several blocks and tasks, whatever the number of threads, added and overwritten.
func TestVectorBackward(t *testing.T) {
	for _, c := range []gradTest{
		{op: "Erf", opset: 13, in: tensors{random(1, 3, 20001)}},
		{op: "Gelu", opset: 20, in: tensors{random(2, 5, 4099)}},
		{name: "tanh", op: "Gelu", opset: 20, attrs: []*graph.Attr{attrString("approximate", "tanh")}, in: tensors{random(3, 5, 4099)}},
		{op: "Tanh", opset: 13, in: tensors{random(4, 5, 4099)}},
		{op: "Sigmoid", opset: 13, in: tensors{random(5, 5, 4099)}},
		{op: "Softplus", opset: 13, in: tensors{random(6, 5, 4099)}},
		{op: "Exp", opset: 13, in: tensors{random(7, 5, 4099)}},
		{op: "Softmax", opset: 13, in: tensors{random(8, 500, 49)}},
		{name: "long rows", op: "Softmax", opset: 13, in: tensors{random(9, 3, 5000)}},
		{name: "rows of one", op: "Softmax", opset: 13, in: tensors{random(9, 3000, 1)}},
		{op: "LayerNormalization", opset: 17, in: tensors{random(10, 700, 50), random(11, 50), random(12, 50)}},
		{name: "long rows", op: "LayerNormalization", opset: 17, in: tensors{random(10, 3, 20000), random(11, 20000), random(12, 20000)}},
		{name: "two axes, no bias", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{attrInt("axis", -2)},
			in: tensors{random(13, 60, 7, 9), random(14, 1, 9)}},
	} {
		t.Run(fmt.Sprint(c.op, " ", c.name), func(t *testing.T) {
			o, err := parseOp(opTest{op: c.op, opset: c.opset, attrs: c.attrs, in: c.in}, 1)
			if err != nil {
				t.Fatal(err)
			}
			d := AsDifferentiable(o)
			run := func(dtype tensor.DType, threads int, over bool) [][]float64 {
				ctx := &Ctx{Pool: kernel.NewPool(threads)}
				var in, din []tensor.Value
				var fresh []bool
				r := rand.New(rand.NewPCG(3, 4))
				for _, x := range c.in {
					in = append(in, tensor.ValueOf(as(dtype, x)))
					g := tensor.ValueOf(as(dtype, normal(r, as(tensor.Float64, x)).Tensor))
					if over {
						spoil(g.Tensor)
					}
					din, fresh = append(din, g), append(fresh, over)
				}
				out, err := Eval(ctx, o, in, 1)
				if err != nil {
					t.Fatal(err)
				}
				dout := []tensor.Value{tensor.ValueOf(as(dtype, normal(r, as(tensor.Float64, out[0].Tensor)).Tensor))}
				if over {
					err = d.(Overwriter).BackwardInto(ctx, in, out, dout, din, fresh)
				} else {
					err = d.Backward(ctx, in, out, dout, din)
				}
				if err != nil {
					t.Fatal(err)
				}
				var all [][]float64
				for _, g := range din {
					all = append(all, numbers(g.Tensor))
				}
				return all
			}
			for _, over := range []bool{false, true} {
				want, one, two := run(tensor.Float64, 1, over), run(tensor.Float32, 1, over), run(tensor.Float32, 2, over)
				for i := range want {
					if err := near(one[i], want[i], rounded); err != nil {
						t.Errorf("input %d, overwritten %v: %v", i, over, err)
					}
					if !slices.Equal(one[i], two[i]) {
						t.Errorf("input %d, overwritten %v: two threads give other bits", i, over)
					}
				}
			}
		})
	}
}
