package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// expand broadcasts its input to the shape that the second input lists, which
// in turn broadcasts to the input's.
type expand struct{}

func parseExpand(*attrs) Op { return expand{} }

func (expand) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	dims, err := shapeInput(in, 1)
	if err != nil {
		return nil, err
	}
	if dims == nil || !in[0].Ranked {
		return unrankedFact(in[0].DType), nil
	}
	shape, _, err := broadcastShapes(in[0].Type, graph.TensorType(in[0].DType, dims...))
	if err != nil {
		return nil, err
	}
	f := tensorFact(in[0].DType, shape...)
	if n, ok := graph.Product(shape).Const(); ok && len(in[0].Ints) == 1 && len(shape) <= 1 && n <= maxContents {
		ints := make([]graph.Dim, n)
		for i := range ints {
			ints[i] = in[0].Ints[0]
		}
		f[0] = contents(in[0].DType, ints, shape...)
	}
	return f, nil
}

// box is what Expand copies to make y of x.
func (expand) box(x, y *tensor.Tensor) box {
	strides := make([]int, y.Rank())
	own := tensor.Strides(x.Shape())
	for i, d := range x.Shape() {
		if d != 1 {
			strides[y.Rank()-x.Rank()+i] = own[i]
		}
	}
	return box{shape: y.Shape(), dstStrides: tensor.Strides(y.Shape()), srcStrides: strides}
}

func (o expand) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	return copyBox(ctx.Pool, "Expand", y, x, o.box(x, y))
}

func (o expand) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	return boxBack("Expand", o.box(in[0].Tensor, out[0].Tensor), dout, din)
}

// tile repeats its input along each axis as often as the second input lists.
type tile struct{}

func parseTile(*attrs) Op { return tile{} }

func (tile) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	times, err := shapeInput(in, 1)
	if err != nil {
		return nil, err
	}
	switch {
	case !in[0].Ranked && times == nil:
		return unrankedFact(in[0].DType), nil
	case !in[0].Ranked:
		return rankFact(in[0].DType, len(times)), nil
	case times == nil:
		return rankFact(in[0].DType, len(in[0].Shape)), nil
	case len(times) != len(in[0].Shape):
		return nil, fmt.Errorf("%d repeats for %s", len(times), in[0].Type)
	}
	shape := make([]graph.Dim, len(times))
	for i, d := range in[0].Shape {
		shape[i] = d.Mul(times[i])
	}
	if n, ok := graph.Ints(shape); ok {
		if _, err := tensor.Elements(n); err != nil {
			return nil, err
		}
	}
	return tensorFact(in[0].DType, shape...), nil
}

// box is what Tile copies to make y of x: every axis is two, the repeats,
// which do not move in x, and its own. It is empty where x is.
func (tile) box(x, y *tensor.Tensor) box {
	b := box{}
	xs, ys := tensor.Strides(x.Shape()), tensor.Strides(y.Shape())
	for i, d := range x.Shape() {
		b.shape = append(b.shape, y.Shape()[i]/max(d, 1), d)
		b.dstStrides = append(b.dstStrides, d*ys[i], ys[i])
		b.srcStrides = append(b.srcStrides, 0, xs[i])
	}
	return b
}

func (o tile) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	return copyBox(ctx.Pool, "Tile", y, x, o.box(x, y))
}

func (o tile) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	return boxBack("Tile", o.box(in[0].Tensor, out[0].Tensor), dout, din)
}
