package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A scatterRule says how Scatter combines an element with its update.
type scatterRule string

func parseScatterRule(a *attrs, addSince, maxSince int64) scatterRule {
	if a.opset < addSince {
		return "none"
	}
	r := a.string("reduction", "none")
	switch {
	case r == "none" || r == "add" || r == "mul":
	case (r == "min" || r == "max") && a.opset >= maxSince:
	default:
		a.fail(fmt.Errorf("opset %d has no reduction %q", a.opset, r))
	}
	return scatterRule(r)
}

// widens reports whether updates are combined with elements of x in float32.
func (r scatterRule) widens(x *tensor.Tensor) bool {
	d := x.DType()
	return r != "none" && (d == tensor.Float16 || d == tensor.BFloat16)
}

// scatterElements copies its input and changes single elements: the indices
// say where along the axis the update of the same position goes. Up to
// opset 10 it is called Scatter.
type scatterElements struct {
	axis   int
	reduce scatterRule
}

func parseScatterElements(a *attrs) Op {
	return &scatterElements{int(a.int("axis", 0)), parseScatterRule(a, 16, 18)}
}

func (o *scatterElements) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := scatterInputs(in); err != nil {
		return nil, err
	}
	if err := elementIndices(in[0], in[1], o.axis); err != nil {
		return nil, err
	}
	if in[1].Ranked && in[2].Ranked && unlike(in[1].Shape, in[2].Shape) {
		return nil, fmt.Errorf("indices%s for updates%s", graph.FormatShape(in[1].Shape, true), graph.FormatShape(in[2].Shape, true))
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

// scatterInputs checks what all Scatter operators share.
func scatterInputs(in []graph.Fact) error {
	if err := arity(in, 3, 3); err != nil {
		return err
	}
	if in[0].DType != tensor.Undefined && in[2].DType != tensor.Undefined && in[0].DType != in[2].DType {
		return fmt.Errorf("updates are %v, but the data is %v", in[2].DType, in[0].DType)
	}
	return nil
}

// unlike reports whether two shapes cannot be the same.
func unlike(a, b []graph.Dim) bool {
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if differ(a[i], b[i]) {
			return true
		}
	}
	return false
}

func (o *scatterElements) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y, updates := in[0].Tensor, out[0].Tensor, in[2].Tensor
	if x.Rank() == 0 {
		return fmt.Errorf("%v has no axis", x)
	}
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	if o.reduce.widens(x) {
		return viaFloat32(ctx, o, in, out)
	}
	if s := scattererOf(o.reduce, x, updates, y); s != nil && s.elements(ctx.Pool, in[1].Tensor, x.Shape(), axis) {
		return nil
	}
	pos, err := elementPositions(ctx.Pool, x, in[1].Tensor, o.axis)
	if err != nil {
		return err
	}
	defer placeScratches.give(pos)
	return scatter(o.reduce, x, updates, y, scattering{pos, 1})
}

// scatterND copies its input and changes slices of it: the last axis of the
// indices is the position of a slice.
type scatterND struct{ reduce scatterRule }

func parseScatterND(a *attrs) Op { return &scatterND{parseScatterRule(a, 16, 18)} }

func (o *scatterND) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := scatterInputs(in); err != nil {
		return nil, err
	}
	x, at, updates := in[0], in[1], in[2]
	if x.Ranked && at.Ranked {
		last := len(at.Shape) - 1
		if last < 0 || len(x.Shape) == 0 {
			return nil, fmt.Errorf("%s with indices%s: neither can be a scalar", x.Type, graph.FormatShape(at.Shape, true))
		}
		if depth, ok := at.Shape[last].Const(); ok {
			if depth > len(x.Shape) {
				return nil, fmt.Errorf("indices%s name %d axes of %s", graph.FormatShape(at.Shape, true), depth, x.Type)
			}
			want := append(append([]graph.Dim{}, at.Shape[:last]...), x.Shape[depth:]...)
			if updates.Ranked && unlike(want, updates.Shape) {
				return nil, fmt.Errorf("updates%s, wanted %s", graph.FormatShape(updates.Shape, true), graph.FormatShape(want, true))
			}
		}
	}
	return []graph.Fact{{Type: x.Type}}, nil
}

func (o *scatterND) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, at := in[0].Tensor, in[1].Tensor
	if o.reduce.widens(x) {
		return viaFloat32(ctx, o, in, out)
	}
	axes := x.Shape()[:at.Shape()[at.Rank()-1]]
	if s := scattererOf(o.reduce, x, in[2].Tensor, out[0].Tensor); s != nil && s.slices(ctx.Pool, at, axes, product(x.Shape()[len(axes):])) {
		return nil
	}
	pos, size, err := slicePositions(ctx.Pool, in[0].Tensor, in[1].Tensor, 0)
	if err != nil {
		return err
	}
	defer placeScratches.give(pos)
	return scatter(o.reduce, x, in[2].Tensor, out[0].Tensor, scattering{pos, size})
}

func (o *scatterElements) hasGradient() bool { return o.reduce.linear() }

func (o *scatterElements) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	pos, err := elementPositions(ctx.Pool, in[0].Tensor, in[1].Tensor, o.axis)
	if err != nil {
		return err
	}
	return o.reduce.back(pos, 1, dout, din)
}

func (o *scatterND) hasGradient() bool { return o.reduce.linear() }

func (o *scatterND) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	pos, size, err := slicePositions(ctx.Pool, in[0].Tensor, in[1].Tensor, 0)
	if err != nil {
		return err
	}
	return o.reduce.back(pos, size, dout, din)
}

// linear reports whether the rule's output is linear in data and updates.
func (r scatterRule) linear() bool { return r == "none" || r == "add" }

// back is the backward of scatter by a linear rule.
func (r scatterRule) back(pos []int, size int, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat("Scatter", dout[0].Tensor.DType(),
		func() { scatterFrom[float32](r, pos, size, dout, din) },
		func() { scatterFrom[float64](r, pos, size, dout, din) })
}

// scatterFrom gives an element's gradient to the data and to the updates that
// were added to it, or to the last update that replaced it alone.
func scatterFrom[T float](r scatterRule, pos []int, size int, dout, din []tensor.Value) {
	dx, du := gradient[T](din, 0), gradient[T](din, 2)
	dy := append([]T(nil), gradient[T](dout, 0)...)
	if r == "add" && dx != nil {
		addTo(dx, dy)
	}
	for k := len(pos) - 1; k >= 0; k-- {
		g := dy[pos[k] : pos[k]+size]
		if du != nil {
			addTo(du[k*size:(k+1)*size], g)
		}
		if r == "none" {
			clear(g)
		}
	}
	if r == "none" && dx != nil {
		addTo(dx, dy)
	}
}
