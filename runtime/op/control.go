package op

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// ifElse gives the outputs of one of two subgraphs.
type ifElse struct {
	noForward
	then, otherwise *graph.Graph
}

func parseIf(a *attrs) Op {
	return &ifElse{then: a.graph("then_branch"), otherwise: a.graph("else_branch")}
}

func (o *ifElse) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := condition(in[0]); err != nil {
		return nil, err
	}
	for _, g := range []*graph.Graph{o.then, o.otherwise} {
		if err := takesInputs(g, 0); err != nil {
			return nil, err
		}
		if len(g.Outputs) != nOut {
			return nil, fmt.Errorf("branch %q has %d outputs, wanted %d", g.Name, len(g.Outputs), nOut)
		}
	}
	out := make([]graph.Fact, nOut)
	for i := range out {
		out[i].Type = common(o.then.Outputs[i].Type, o.otherwise.Outputs[i].Type)
	}
	return out, nil
}

// condition fails where a fact is not one bool.
func condition(f graph.Fact) error {
	n, ok := graph.Product(f.Shape).Const()
	if f.DType != tensor.Undefined && f.DType != tensor.Bool || f.Ranked && ok && n != 1 {
		return fmt.Errorf("the condition is %s, wanted one bool", f.Type)
	}
	return nil
}

// takesInputs fails where a subgraph has not so many inputs.
func takesInputs(g *graph.Graph, n int) error {
	if len(g.Inputs) != n {
		return fmt.Errorf("subgraph %q has %d inputs, wanted %d", g.Name, len(g.Inputs), n)
	}
	return nil
}

// common is what holds of both types.
func common(a, b graph.Type) graph.Type {
	if a.Kind != b.Kind {
		return graph.Type{}
	}
	if a.Kind != tensor.KindTensor {
		return a
	}
	out := graph.Type{Kind: a.Kind}
	if a.DType == b.DType {
		out.DType = a.DType
	}
	if a.Ranked && b.Ranked && len(a.Shape) == len(b.Shape) {
		out.Ranked, out.Shape = true, unknownDims(len(a.Shape))
		for i, d := range a.Shape {
			if d.Same(b.Shape[i]) {
				out.Shape[i] = d
			}
		}
	}
	return out
}

// truth is the value of a condition in a run.
func truth(v tensor.Value) (bool, error) {
	if v.Kind != tensor.KindTensor || v.Tensor.DType() != tensor.Bool || v.Tensor.Len() != 1 {
		return false, fmt.Errorf("the condition is %v, wanted one bool", v.Tensor)
	}
	return tensor.Data[bool](v.Tensor)[0], nil
}

func (o *ifElse) Run(ctx *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	c, err := truth(in[0])
	if err != nil {
		return nil, err
	}
	if c {
		return ctx.call(o.then, nil)
	}
	return ctx.call(o.otherwise, nil)
}

// call runs a subgraph; the program that runs the op says how.
func (c *Ctx) call(g *graph.Graph, in []tensor.Value) ([]tensor.Value, error) {
	if c.Call == nil {
		return nil, fmt.Errorf("subgraph %q cannot be run on its own", g.Name)
	}
	out, err := c.Call(g, in)
	if err == nil && len(out) != len(g.Outputs) {
		err = fmt.Errorf("subgraph %q gave %d outputs, wanted %d", g.Name, len(out), len(g.Outputs))
	}
	return out, err
}

// loop runs its body up to a number of times while a condition holds. The
// body's inputs are the iteration, the condition and the carried values; its
// outputs the condition, the carried values and those to be stacked.
type loop struct {
	noForward
	body *graph.Graph
}

func parseLoop(a *attrs) Op { return &loop{body: a.graph("body")} }

func (o *loop) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 0, -1); err != nil {
		return nil, err
	}
	if len(in) < 2 {
		return nil, fmt.Errorf("found %d inputs, wanted 2 or more", len(in))
	}
	if given(in, 1) {
		if err := condition(in[1]); err != nil {
			return nil, err
		}
	}
	for i, f := range in[2:] {
		if f.Kind == tensor.KindNone {
			return nil, fmt.Errorf("input %d is left out", 2+i)
		}
	}
	carried := len(in) - 2
	if err := takesInputs(o.body, 2+carried); err != nil {
		return nil, err
	}
	if len(o.body.Outputs) != 1+nOut || nOut < carried {
		return nil, fmt.Errorf("body %q has %d outputs, wanted the condition and %d", o.body.Name, len(o.body.Outputs), nOut)
	}
	return bodyFacts(o.body.Outputs[1:], carried), nil
}

// bodyFacts is what is sure of a loop's outputs: the kind and element type of
// carried values, whose shape may change, and that the others are stacked.
func bodyFacts(outputs []*graph.Value, carried int) []graph.Fact {
	out := make([]graph.Fact, len(outputs))
	for i, v := range outputs {
		out[i].Type = graph.Type{Kind: v.Type.Kind, DType: v.Type.DType, Elem: v.Type.Elem}
		if i >= carried && v.Type.Ranked {
			out[i] = rankFact(v.Type.DType, 1+len(v.Type.Shape))[0]
		}
	}
	return out
}

func (o *loop) Run(ctx *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	trips, going := int64(math.MaxInt64), true
	if present(in, 0) {
		v, ok := intsIn(in[0].Tensor)
		if !ok || len(v) != 1 {
			return nil, fmt.Errorf("the trip count is %v, wanted one integer", in[0].Tensor)
		}
		trips = int64(v[0])
	}
	if present(in, 1) {
		var err error
		if going, err = truth(in[1]); err != nil {
			return nil, err
		}
	}
	values := slices.Clone(in[2:])
	stacks := make([][]*tensor.Tensor, nOut-len(values))
	for i := int64(0); i < trips && going; i++ {
		args := append([]tensor.Value{tensor.ValueOf(tensor.Scalar(i)), tensor.ValueOf(tensor.Scalar(going))}, values...)
		out, err := ctx.call(o.body, args)
		if err != nil {
			return nil, fmt.Errorf("iteration %d: %w", i, err)
		}
		if going, err = truth(out[0]); err != nil {
			return nil, fmt.Errorf("iteration %d: %w", i, err)
		}
		copy(values, out[1:])
		for k := range stacks {
			stacks[k] = append(stacks[k], out[1+len(values)+k].Tensor)
		}
	}
	for k, s := range stacks {
		y, err := stack(o.body.Outputs[1+len(in)-2+k], s, 0, false)
		if err != nil {
			return nil, err
		}
		values = append(values, tensor.ValueOf(y))
	}
	return values, nil
}

// stack joins equal tensors along a new axis. Where there are none, v, the
// body's output, says their type; a dimension it does not say counts as 0.
func stack(v *graph.Value, parts []*tensor.Tensor, axis int, reverse bool) (*tensor.Tensor, error) {
	var shape []int
	d := v.Type.DType
	if len(parts) == 0 {
		if !d.Valid() {
			return nil, fmt.Errorf("output %q of a body that did not run has no element type", v.Name())
		}
		for _, e := range v.Type.Shape {
			n, _ := e.Const()
			shape = append(shape, max(n, 0))
		}
	} else {
		for i, p := range parts {
			if p == nil || p.String() != parts[0].String() {
				return nil, fmt.Errorf("output %q is %v in iteration %d, %v in the first", v.Name(), p, i, parts[0])
			}
		}
		d, shape = parts[0].DType(), parts[0].Shape()
	}
	axis, err := normAxis(axis, len(shape)+1)
	if err != nil {
		return nil, err
	}
	y := tensor.New(d, slices.Insert(slices.Clone(shape), axis, len(parts))...)
	strides := tensor.Strides(y.Shape())
	step := strides[axis]
	strides = slices.Delete(strides, axis, axis+1)
	for i, p := range parts {
		if reverse {
			i = len(parts) - 1 - i
		}
		if err := copyBox(nil, "Loop", y, p, box{shape: shape, dstAt: i * step, dstStrides: strides, srcStrides: tensor.Strides(shape)}); err != nil {
			return nil, err
		}
	}
	return y, nil
}

// sliceAt is the i-th slice of x along an axis, which it does not have.
func sliceAt(x *tensor.Tensor, axis, i int) (*tensor.Tensor, error) {
	shape := slices.Delete(slices.Clone(x.Shape()), axis, axis+1)
	strides := tensor.Strides(x.Shape())
	from := i * strides[axis] // before Delete moves the strides
	b := box{shape: shape, src: from, dstStrides: tensor.Strides(shape), srcStrides: slices.Delete(strides, axis, axis+1)}
	y := tensor.New(x.DType(), shape...)
	return y, copyBox(nil, "Scan", y, x, b)
}

// scan runs its body over the slices of its last inputs, carrying the state
// that its first inputs begin, and stacks what the body gives beside it.
type scan struct {
	noForward
	body               *graph.Graph
	scanned            int // the number of inputs that are sliced
	inAxes, outAxes    []int
	inReverse, outBack []int // 1: from the end
}

func parseScan(a *attrs) Op {
	a.require("num_scan_inputs")
	o := &scan{body: a.graph("body"), scanned: int(a.int("num_scan_inputs", 1)),
		inAxes: a.ints("scan_input_axes"), outAxes: a.ints("scan_output_axes"),
		inReverse: a.ints("scan_input_directions"), outBack: a.ints("scan_output_directions")}
	if o.scanned < 1 {
		a.fail(fmt.Errorf("attribute num_scan_inputs is %d", o.scanned))
	}
	return o
}

func (o *scan) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, max(o.scanned, len(in)), -1); err != nil {
		return nil, err
	}
	states := len(in) - o.scanned
	if err := takesInputs(o.body, len(in)); err != nil {
		return nil, err
	}
	if len(o.body.Outputs) != nOut || nOut < states {
		return nil, fmt.Errorf("body %q has %d outputs, wanted %d", o.body.Name, len(o.body.Outputs), nOut)
	}
	for _, l := range []struct {
		list []int
		want int
	}{{o.inAxes, o.scanned}, {o.inReverse, o.scanned}, {o.outAxes, nOut - states}, {o.outBack, nOut - states}} {
		if l.list != nil && len(l.list) != l.want {
			return nil, fmt.Errorf("axes or directions %v, wanted %d", l.list, l.want)
		}
	}
	for i, f := range in[states:] {
		if !f.Ranked {
			continue
		}
		if _, err := normAxis(at(o.inAxes, i, 0), len(f.Shape)); err != nil {
			return nil, fmt.Errorf("input %d: %w", states+i, err)
		}
	}
	return bodyFacts(o.body.Outputs, states), nil
}

func (o *scan) Run(ctx *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	states := len(in) - o.scanned
	length, axes := -1, make([]int, o.scanned)
	for i, v := range in[states:] {
		var err error
		if axes[i], err = normAxis(at(o.inAxes, i, 0), v.Tensor.Rank()); err != nil {
			return nil, err
		}
		n := v.Tensor.Shape()[axes[i]]
		if length >= 0 && n != length {
			return nil, fmt.Errorf("input %d has %d slices, another %d", states+i, n, length)
		}
		length = n
	}
	values := slices.Clone(in[:states])
	stacks := make([][]*tensor.Tensor, nOut-states)
	for t := range length {
		args := slices.Clone(values)
		for i, v := range in[states:] {
			k := t
			if at(o.inReverse, i, 0) == 1 {
				k = length - 1 - t
			}
			s, err := sliceAt(v.Tensor, axes[i], k)
			if err != nil {
				return nil, err
			}
			args = append(args, tensor.ValueOf(s))
		}
		out, err := ctx.call(o.body, args)
		if err != nil {
			return nil, fmt.Errorf("iteration %d: %w", t, err)
		}
		copy(values, out)
		for k := range stacks {
			stacks[k] = append(stacks[k], out[states+k].Tensor)
		}
	}
	for k, s := range stacks {
		y, err := stack(o.body.Outputs[states+k], s, at(o.outAxes, k, 0), at(o.outBack, k, 0) == 1)
		if err != nil {
			return nil, err
		}
		values = append(values, tensor.ValueOf(y))
	}
	return values, nil
}
