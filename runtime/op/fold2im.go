package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// col2Im adds the columns that a convolution's windows see, X[N C·taps
// positions], up to the image they come from: Y[N C image…].
type col2Im struct{ window }

func parseCol2Im(a *attrs) Op {
	return &col2Im{window{strides: a.ints("strides"), dilations: a.ints("dilations"), pads: a.ints("pads")}}
}

func (o *col2Im) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	x := in[0]
	if err := withRank(x, "input", 3); err != nil {
		return nil, err
	}
	if err := wantFloat("Col2Im", x.DType); err != nil {
		return nil, err
	}
	image, imageKnown, err := axesOf(in, 1)
	if err != nil {
		return nil, err
	}
	block, blockKnown, err := axesOf(in, 2)
	if err != nil {
		return nil, err
	}
	switch {
	case imageKnown:
		err = o.check(len(image))
	case blockKnown:
		err = o.check(len(block))
	default:
		return unrankedFact(x.DType), nil
	}
	if err != nil {
		return nil, err
	}
	shape := unknownDims(2 + max(len(image), len(block)))
	for i, n := range image {
		if n < 1 || n > maxWindow {
			return nil, fmt.Errorf("an image of %v", image)
		}
		shape[2+i] = graph.Size(n)
	}
	for _, n := range block {
		if n < 1 || n > maxWindow {
			return nil, fmt.Errorf("blocks of %v", block)
		}
	}
	if !x.Ranked {
		return tensorFact(x.DType, shape...), nil
	}
	shape[0] = x.Shape[0]
	rows, ok := x.Shape[1].Const()
	if blockKnown && ok {
		if rows%product(block) != 0 {
			return nil, fmt.Errorf("%d rows for blocks of %v", rows, block)
		}
		shape[1] = graph.Size(rows / product(block))
	}
	if imageKnown && blockKnown {
		if len(image) != len(block) {
			return nil, fmt.Errorf("an image of %v in blocks of %v", image, block)
		}
		s, err := o.slides(image, block)
		if err != nil {
			return nil, err
		}
		if n := s[0].out * s[1].out * s[2].out; differ(x.Shape[2], graph.Size(n)) {
			return nil, fmt.Errorf("%v for %d positions", x.Type, n)
		}
	}
	return tensorFact(x.DType, shape...), nil
}

func (o *col2Im) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := in[0].Tensor.DType(); d {
	case tensor.Float32:
		return columnsToImage[float32](ctx, o, in, out[0].Tensor)
	case tensor.Float64:
		return columnsToImage[float64](ctx, o, in, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("Col2Im", d)
	}
}

func columnsToImage[T float](ctx *Ctx, o *col2Im, in []tensor.Value, y *tensor.Tensor) error {
	block, ok := intsIn(in[2].Tensor)
	if !ok {
		return unsupportedType("Col2Im", in[2].Tensor.DType())
	}
	s, err := o.slides(y.Shape()[2:], block)
	if err != nil {
		return err
	}
	c, taps, places := y.Shape()[1], product(block), in[0].Tensor.Shape()[2]
	src, dst := tensor.Data[T](in[0].Tensor), tensor.Data[T](y)
	plane := product(y.Shape()[2:])
	clear(dst)
	ctx.Pool.For(y.Shape()[0]*c, 1, func(lo, hi int) {
		for k := lo; k < hi; k++ {
			to := dst[k*plane : (k+1)*plane]
			for tap := range taps {
				row := src[(k*taps+tap)*places : (k*taps+tap+1)*places]
				for p, v := range row {
					if at := seen(&s, tap, p); at >= 0 {
						to[at] += v
					}
				}
			}
		}
	})
	return nil
}

// seen is the element of an image that a tap of the window sees from its p-th
// position; −1 for padding.
func seen(s *[maxSpatial]slide, tap, p int) int {
	tz, ty, tx := tap/(s[1].kernel*s[2].kernel), tap/s[2].kernel%s[1].kernel, tap%s[2].kernel
	z := p/(s[1].out*s[2].out)*s[0].stride + tz*s[0].dilation - s[0].before
	y := p/s[2].out%s[1].out*s[1].stride + ty*s[1].dilation - s[1].before
	x := p%s[2].out*s[2].stride + tx*s[2].dilation - s[2].before
	if z < 0 || z >= s[0].in || y < 0 || y >= s[1].in || x < 0 || x >= s[2].in {
		return -1
	}
	return (z*s[1].in+y)*s[2].in + x
}

// centerCropPad cuts each axis, or pads it with zeros, to a size that an input
// gives, alike on both sides.
type centerCropPad struct {
	axes    []int
	hasAxes bool
}

func parseCenterCropPad(a *attrs) Op {
	return &centerCropPad{axes: a.ints("axes"), hasAxes: a.has("axes")}
}

func (o *centerCropPad) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x := in[0]
	if !x.Ranked {
		return unrankedFact(x.DType), nil
	}
	axes, err := o.along(len(x.Shape))
	if err != nil {
		return nil, err
	}
	shape := append([]graph.Dim{}, x.Shape...)
	sizes := intsOf(in[1])
	if sizes != nil && len(sizes) != len(axes) {
		return nil, fmt.Errorf("%d sizes for %d axes", len(sizes), len(axes))
	}
	for i, a := range axes {
		if shape[a] = graph.Unknown; sizes != nil {
			shape[a] = sizes[i]
		}
	}
	return tensorFact(x.DType, shape...), nil
}

func (o *centerCropPad) along(rank int) ([]int, error) {
	if o.hasAxes {
		return normAxes(o.axes, rank)
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	return axes, nil
}

func (o *centerCropPad) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	before := make([]int, x.Rank())
	for i, want := range y.Shape() {
		if before[i] = (want - x.Shape()[i]) / 2; want < x.Shape()[i] {
			before[i] = -((x.Shape()[i] - want) / 2)
		}
	}
	if err := fill(ctx.Pool, "CenterCropPad", y, tensor.New(x.DType(), 1)); err != nil {
		return err
	}
	return copyBox(ctx.Pool, "CenterCropPad", y, x, keptBox(x.Shape(), y.Shape(), before))
}
