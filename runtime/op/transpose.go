package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// transpose permutes axes: axis i of the output is axis perm[i] of the input;
// without perm their order is reversed.
type transpose struct{ perm []int }

func parseTranspose(a *attrs) Op { return &transpose{a.ints("perm")} }

// order is the permutation for an input of the given rank.
func (o *transpose) order(rank int) ([]int, error) {
	if o.perm == nil {
		perm := make([]int, rank)
		for i := range perm {
			perm[i] = rank - 1 - i
		}
		return perm, nil
	}
	if len(o.perm) != rank {
		return nil, fmt.Errorf("perm %v does not permute %d axes", o.perm, rank)
	}
	return normAxes(o.perm, rank)
}

func (o *transpose) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		if o.perm != nil {
			return rankFact(in[0].DType, len(o.perm)), nil
		}
		return unrankedFact(in[0].DType), nil
	}
	perm, err := o.order(len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	shape := make([]graph.Dim, len(perm))
	for i, p := range perm {
		shape[i] = in[0].Shape[p]
	}
	return tensorFact(in[0].DType, shape...), nil
}

// box is what Transpose copies to make y of x.
func (o *transpose) box(x, y *tensor.Tensor) (box, error) {
	perm, err := o.order(x.Rank())
	if err != nil {
		return box{}, err
	}
	own := tensor.Strides(x.Shape())
	strides := make([]int, len(perm))
	for i, p := range perm {
		strides[i] = own[p]
	}
	return box{shape: y.Shape(), dstStrides: tensor.Strides(y.Shape()), srcStrides: strides}, nil
}

func (o *transpose) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	b, err := o.box(x, y)
	if err != nil {
		return err
	}
	return copyBox(ctx.Pool, "Transpose", y, x, b)
}

func (o *transpose) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	b, err := o.box(in[0].Tensor, out[0].Tensor)
	if err != nil {
		return err
	}
	return boxBack("Transpose", b, dout, din)
}
