package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// aligned is an operator of two inputs in the form it had before opset 7: the
// second input is broadcast only where attribute broadcast says so, and its
// first axis then stands under axis, by default as far back as it goes.
type aligned struct {
	inner     Op
	broadcast bool
	axis      int
	hasAxis   bool
}

// IsAligned reports whether o's second operand may lie along other axes than numpy's, as before opset 7.
func IsAligned(o Op) bool {
	a, ok := o.(*aligned)
	return ok && a.hasAxis
}

// parseAligned wraps the parser of the form from opset 7 on.
func parseAligned(inner parser) parser {
	return func(a *attrs) Op {
		a.ints("consumed_inputs") // of opset 1, a hint
		return &aligned{inner: inner(a), broadcast: a.bool("broadcast", false), hasAxis: a.has("axis"), axis: int(a.int("axis", 0))}
	}
}

// parseChannels is PRelu before opset 7: a slope for each channel, or one.
func parseChannels(inner parser) parser {
	return func(a *attrs) Op {
		a.ints("consumed_inputs")
		return &aligned{inner: inner(a), broadcast: true, axis: 1, hasAxis: true}
	}
}

// shape is that of the second input with ones after it, so that it broadcasts
// as it does from opset 7 on.
func (o *aligned) shape(a, b []graph.Dim) ([]graph.Dim, error) {
	if !o.broadcast {
		if len(a) != len(b) {
			return nil, fmt.Errorf("shapes %s and %s differ, and attribute broadcast is not set", graph.FormatShape(a, true), graph.FormatShape(b, true))
		}
		return b, nil
	}
	if !o.hasAxis || len(b) == 0 || len(b) == 1 && b[0].Is(1) {
		return b, nil
	}
	axis, err := normAxis(o.axis, len(a))
	if err != nil {
		return nil, err
	}
	if axis+len(b) > len(a) {
		return nil, fmt.Errorf("shape %s from axis %d on does not fit into %s", graph.FormatShape(b, true), axis, graph.FormatShape(a, true))
	}
	out := append([]graph.Dim{}, b...)
	for len(out) < len(a)-axis {
		out = append(out, graph.Size(1))
	}
	return out, nil
}

func (o *aligned) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	b := in[1]
	if !in[0].Ranked || !b.Ranked {
		return o.inner.Infer([]graph.Fact{{Type: graph.Type{Kind: in[0].Kind, DType: in[0].DType}},
			{Type: graph.Type{Kind: b.Kind, DType: b.DType}}}, nOut)
	}
	shape, err := o.shape(in[0].Shape, b.Shape)
	if err != nil {
		return nil, err
	}
	b.Shape, b.Const, b.Ints = shape, nil, nil
	return o.inner.Infer([]graph.Fact{in[0], b}, nOut)
}

// turned is vs with the second tensor in its aligned shape.
func (o *aligned) turned(in, vs []tensor.Value) ([]tensor.Value, error) {
	if !present(vs, 1) {
		return vs, nil
	}
	dims, err := o.shape(graph.Sizes(in[0].Tensor.Shape()), graph.Sizes(in[1].Tensor.Shape()))
	if err != nil {
		return nil, err
	}
	shape, _ := graph.Ints(dims)
	b, err := vs[1].Tensor.Reshaped(shape...)
	if err != nil {
		return nil, err
	}
	return []tensor.Value{vs[0], tensor.ValueOf(b)}, nil
}

func (o *aligned) Forward(ctx *Ctx, in, out []tensor.Value) error {
	in, err := o.turned(in, in)
	if err != nil {
		return err
	}
	return o.inner.Forward(ctx, in, out)
}

func (o *aligned) hasGradient() bool { return AsDifferentiable(o.inner) != nil }

func (o *aligned) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	din, err := o.turned(in, din)
	if err != nil {
		return err
	}
	if in, err = o.turned(in, in); err != nil {
		return err
	}
	return AsDifferentiable(o.inner).Backward(ctx, in, out, dout, din)
}
