package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// depthToSpace moves blocks of channels of [N C H W] into the plane: blocks
// of size·size channels (mode DCR) or channels of size·size blocks (CRD)
// become [N C/size² H·size W·size].
type depthToSpace struct {
	size int
	crd  bool
}

func parseDepthToSpace(a *attrs) Op {
	o := &depthToSpace{size: blockSize(a)}
	if a.opset >= 11 {
		mode := a.string("mode", "DCR")
		o.crd = mode == "CRD"
		if mode != "DCR" && mode != "CRD" {
			a.fail(fmt.Errorf("attribute mode is %q, wanted DCR or CRD", mode))
		}
	}
	return o
}

func blockSize(a *attrs) int {
	a.require("blocksize")
	size := int(a.int("blocksize", 1))
	if size < 1 || size > 1<<20 {
		a.fail(fmt.Errorf("attribute blocksize is %d", size))
	}
	return size
}

func (o *depthToSpace) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := withRank(in[0], "input", 4); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return rankFact(in[0].DType, 4), nil
	}
	s, x := graph.Size(o.size), in[0].Shape
	if c, ok := x[1].Const(); ok && c%(o.size*o.size) != 0 {
		return nil, fmt.Errorf("%d channels do not divide into blocks of %d²", c, o.size)
	}
	return tensorFact(in[0].DType, x[0], x[1].Div(graph.Size(o.size*o.size)), x[2].Mul(s), x[3].Mul(s)), nil
}

// box is what DepthToSpace copies to make y of x.
func (o *depthToSpace) box(x, y *tensor.Tensor) box {
	n, c, h, w, s := x.Shape()[0], y.Shape()[1], x.Shape()[2], x.Shape()[3], o.size
	// The axes of y: N C H size W size.
	plane := h * w
	channel, row, col := plane, s*c*plane, c*plane // DCR: x is [N sy sx C H W]
	if o.crd {
		channel, row, col = s*s*plane, s*plane, plane // x is [N C sy sx H W]
	}
	shape := []int{n, c, h, s, w, s}
	return box{shape: shape, dstStrides: tensor.Strides(shape), srcStrides: []int{s * s * c * plane, channel, w, row, 1, col}}
}

func (o *depthToSpace) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	return copyBox(ctx.Pool, "DepthToSpace", y, x, o.box(x, y))
}

func (o *depthToSpace) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	return boxBack("DepthToSpace", o.box(in[0].Tensor, out[0].Tensor), dout, din)
}

// spaceToDepth moves size·size blocks of the plane of [N C H W] into
// channels: [N C·size² H/size W/size], the inverse of DepthToSpace in mode DCR.
type spaceToDepth struct{ size int }

func parseSpaceToDepth(a *attrs) Op { return &spaceToDepth{blockSize(a)} }

func (o *spaceToDepth) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := withRank(in[0], "input", 4); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return rankFact(in[0].DType, 4), nil
	}
	s, x := graph.Size(o.size), in[0].Shape
	for _, d := range x[2:] {
		if n, ok := d.Const(); ok && n%o.size != 0 {
			return nil, fmt.Errorf("%s does not divide into blocks of %d", in[0].Type, o.size)
		}
	}
	return tensorFact(in[0].DType, x[0], x[1].Mul(graph.Size(o.size*o.size)), x[2].Div(s), x[3].Div(s)), nil
}

// box is what SpaceToDepth copies to make y of x.
func (o *spaceToDepth) box(x, y *tensor.Tensor) box {
	s := o.size
	n, c, h, w := x.Shape()[0], x.Shape()[1], y.Shape()[2], y.Shape()[3]
	// The axes of y: N sy sx C H W.
	shape := []int{n, s, s, c, h, w}
	full := h * s * w * s
	return box{shape: shape, dstStrides: tensor.Strides(shape), srcStrides: []int{c * full, w * s, 1, full, s * w * s, s}}
}

func (o *spaceToDepth) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	return copyBox(ctx.Pool, "SpaceToDepth", y, x, o.box(x, y))
}

func (o *spaceToDepth) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	return boxBack("SpaceToDepth", o.box(in[0].Tensor, out[0].Tensor), dout, din)
}

// reverseSequence turns around the first elements of each sequence: as many
// as the second input lists for each entry of the batch axis.
type reverseSequence struct{ batchAxis, timeAxis int }

func parseReverseSequence(a *attrs) Op {
	o := &reverseSequence{int(a.int("batch_axis", 1)), int(a.int("time_axis", 0))}
	if o.batchAxis+o.timeAxis != 1 || o.batchAxis*o.timeAxis != 0 {
		a.fail(fmt.Errorf("batch_axis %d and time_axis %d, wanted 0 and 1 or 1 and 0", o.batchAxis, o.timeAxis))
	}
	return o
}

func (o *reverseSequence) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if err := withRank(in[1], "sequence_lens", 1); err != nil {
		return nil, err
	}
	if in[0].Ranked {
		if len(in[0].Shape) < 2 {
			return nil, fmt.Errorf("input is %s, wanted rank 2 or more", in[0].Type)
		}
		if in[1].Ranked && differ(in[0].Shape[o.batchAxis], in[1].Shape[0]) {
			return nil, fmt.Errorf("sequence_lens%s for a batch in axis %d of %s", graph.FormatShape(in[1].Shape, true), o.batchAxis, in[0].Type)
		}
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *reverseSequence) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	lens, ok := intsIn(in[1].Tensor)
	if !ok {
		return fmt.Errorf("sequence_lens are %v, wanted integers", in[1].Tensor)
	}
	to, from, err := cellsPair("ReverseSequence", y, x)
	if err != nil {
		return err
	}
	strides := tensor.Strides(x.Shape())
	times, size := x.Shape()[o.timeAxis], strides[1]
	for b, n := range lens {
		if n < 0 || n > times {
			return fmt.Errorf("sequence %d has length %d of %d", b, n, times)
		}
		for t := range times {
			src := t
			if t < n {
				src = n - 1 - t
			}
			to.copy(b*strides[o.batchAxis]+t*strides[o.timeAxis], from, b*strides[o.batchAxis]+src*strides[o.timeAxis], size)
		}
	}
	return nil
}
