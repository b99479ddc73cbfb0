package op

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// view is the computation of the operators here: the same elements in another
// shape.
type view struct{}

func (view) Forward(_ *Ctx, in, out []tensor.Value) error {
	return out[0].Tensor.CopyFrom(in[0].Tensor)
}

func (view) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error {
	return addBack("Reshape", dout, din)
}

func (view) IsView([]graph.Fact) bool { return true }

// viewFact is the fact of f's elements in a shape; contents stay known.
func viewFact(f graph.Fact, shape []graph.Dim) []graph.Fact {
	out := tensorFact(f.DType, shape...)
	if len(shape) <= 1 {
		out[0].Ints = f.Ints
	}
	return out
}

// reshape gives its input the shape that the second input lists, where one −1
// stands for what is left and, unless allowzero, a 0 for the input's own
// dimension.
type reshape struct {
	view
	allowZero bool
}

func parseReshape(a *attrs) Op {
	o := &reshape{}
	if a.opset >= 14 {
		o.allowZero = a.bool("allowzero", false)
	}
	return o
}

func (o *reshape) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	want, known, err := axesOf(in, 1)
	if err != nil {
		return nil, err
	}
	if known {
		if err := o.check(want); err != nil {
			return nil, err
		}
	}
	listed := intsOf(in[1])
	if listed == nil {
		return unrankedFact(in[0].DType), nil
	}
	dims, copied := slices.Clone(listed), make([]bool, len(listed))
	for i, d := range dims {
		if !d.Is(0) || o.allowZero {
			continue
		}
		dims[i], copied[i] = graph.Unknown, true
		if !in[0].Ranked {
			continue
		}
		if i >= len(in[0].Shape) {
			return nil, fmt.Errorf("shape %s copies dimension %d of %s", graph.FormatShape(listed, true), i, in[0].Type)
		}
		dims[i] = in[0].Shape[i]
	}
	if !in[0].Ranked {
		return viewFact(in[0], dims), nil
	}
	return o.resolve(in[0], dims, copied)
}

// check refuses lists that are a shape for no input.
func (o *reshape) check(want []int) error {
	open := 0
	for _, n := range want {
		if n < -1 {
			return fmt.Errorf("shape %v has the negative dimension %d", want, n)
		}
		if n == -1 {
			open++
		}
	}
	if open > 1 {
		return fmt.Errorf("shape %v has more than one -1", want)
	}
	if open > 0 && o.allowZero && slices.Contains(want, 0) {
		return fmt.Errorf("shape %v has both 0 and -1", want)
	}
	return nil
}

// resolve finds a dimension that follows from all others, whether it is
// written as −1 or only not known yet. Copied dimensions cancel out.
func (o *reshape) resolve(f graph.Fact, dims []graph.Dim, copied []bool) ([]graph.Fact, error) {
	total, rest := graph.Size(1), graph.Size(1)
	for i, d := range f.Shape {
		if i >= len(copied) || !copied[i] {
			total = total.Mul(d)
		}
	}
	open, opens := -1, 0
	for i, d := range dims {
		switch {
		case copied[i]:
		case d.IsKnown():
			rest = rest.Mul(d)
		default:
			open = i
			opens++
		}
	}
	m, ok := total.Const()
	n, ok2 := rest.Const()
	switch {
	case opens == 0 && differ(total, rest), opens == 1 && ok && ok2 && (n == 0 || m%n != 0):
		return nil, fmt.Errorf("cannot reshape %s to %s", f.Type, graph.FormatShape(dims, true))
	case opens == 1:
		dims[open] = total.Div(rest)
	}
	return viewFact(f, dims), nil
}

// flatten makes a matrix: the axes before axis are its rows, the others its
// columns.
type flatten struct {
	view
	axis int
}

func parseFlatten(a *attrs) Op { return &flatten{axis: int(a.int("axis", 1))} }

func (o *flatten) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return rankFact(in[0].DType, 2), nil
	}
	rank, axis := len(in[0].Shape), o.axis
	if axis < -rank || axis > rank {
		return nil, fmt.Errorf("axis %d is outside %s", axis, in[0].Type)
	}
	if axis < 0 {
		axis += rank
	}
	return tensorFact(in[0].DType, graph.Product(in[0].Shape[:axis]), graph.Product(in[0].Shape[axis:])), nil
}

// axesList is a list of axes that is an attribute or, from some opset on, an
// input.
type axesList struct {
	attr    []int
	asInput bool
}

func parseAxes(a *attrs, inputSince int64) axesList {
	if a.opset >= inputSince {
		return axesList{asInput: true}
	}
	return axesList{attr: a.ints("axes")}
}

// of is the list, nil where there is none; known is false where it depends on
// data.
func (l axesList) of(in []graph.Fact, i int) (axes []int, known bool, err error) {
	if !l.asInput {
		return l.attr, true, arity(in, i, i)
	}
	if err := arity(in, i, i+1); err != nil {
		return nil, false, err
	}
	return axesOf(in, i)
}

// squeeze takes out axes of one element: those listed, else all there are.
type squeeze struct {
	view
	axes axesList
}

func parseSqueeze(a *attrs) Op { return &squeeze{axes: parseAxes(a, 13)} }

func (o *squeeze) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	axes, known, err := o.axes.of(in, 1)
	if err != nil {
		return nil, err
	}
	if !in[0].Ranked || !known {
		return unrankedFact(in[0].DType), nil
	}
	shape := in[0].Shape
	drop := make([]bool, len(shape))
	if axes == nil {
		for i, d := range shape {
			if _, ok := d.Const(); !ok {
				return unrankedFact(in[0].DType), nil
			}
			drop[i] = d.Is(1)
		}
	}
	axes, err = normAxes(axes, len(shape))
	if err != nil {
		return nil, err
	}
	for _, a := range axes {
		if differ(shape[a], graph.Size(1)) {
			return nil, fmt.Errorf("axis %d of %s is not 1", a, in[0].Type)
		}
		drop[a] = true
	}
	out := []graph.Dim{}
	for i, d := range shape {
		if !drop[i] {
			out = append(out, d)
		}
	}
	return viewFact(in[0], out), nil
}

// unsqueeze puts in axes of one element; the list counts in the output.
type unsqueeze struct {
	view
	axes axesList
}

func parseUnsqueeze(a *attrs) Op {
	o := &unsqueeze{axes: parseAxes(a, 13)}
	if !o.axes.asInput {
		a.require("axes")
	}
	return o
}

func (o *unsqueeze) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	axes, known, err := o.axes.of(in, 1)
	if err != nil {
		return nil, err
	}
	if o.axes.asInput && !given(in, 1) {
		return nil, arity(in, 2, 2)
	}
	if !in[0].Ranked || !known {
		return unrankedFact(in[0].DType), nil
	}
	shape := in[0].Shape
	out := make([]graph.Dim, len(shape)+len(axes))
	axes, err = normAxes(axes, len(out))
	if err != nil {
		return nil, err
	}
	for i := range out {
		if slices.Contains(axes, i) {
			out[i] = graph.Size(1)
		} else {
			out[i], shape = shape[0], shape[1:]
		}
	}
	return viewFact(in[0], out), nil
}
