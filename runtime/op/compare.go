package op

import (
	"cmp"
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// compare is an element-wise comparison of two inputs of one type, with
// numpy's broadcasting; a comparison with NaN is false.
type compare struct {
	name string
	// less, equal: what the result is where a < b, where a = b; greater: where a > b.
	less, equal, greater bool
}

func parseCompare(name string, less, equal, greater bool) parser {
	return func(*attrs) Op { return &compare{name, less, equal, greater} }
}

func (o *compare) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err != nil {
		return nil, err
	}
	out.DType = tensor.Bool
	if v := o.contents(in[0], in[1]); v != nil && out.Ranked && graph.Product(out.Shape).Is(len(v)) {
		shape, _ := graph.Ints(out.Shape)
		out = graph.FactOf(tensor.Of(v, shape...))
	}
	return []graph.Fact{out}, nil
}

// contents is the comparison of shapes that are only partly numbers, as far as
// it comes out the same for every size: nil where it does not. It is how
// exporters tell the dimensions of an Expand that they keep (−1).
func (o *compare) contents(a, b graph.Fact) []bool {
	x, y := listed(a), listed(b)
	if len(x) == 0 || len(y) == 0 || len(x) != len(y) && len(x) != 1 && len(y) != 1 {
		return nil
	}
	out := make([]bool, max(len(x), len(y)))
	for i := range out {
		v, w := x[i%len(x)], y[i%len(y)]
		switch {
		case v.isNumber && w.isNumber:
			out[i] = compareAs[int](o)(v.number, w.number)
		case v.dim.Same(w.dim):
			out[i] = o.equal
		case v.isNumber && v.number < 0 && w.dim.IsKnown():
			out[i] = o.less
		case w.isNumber && w.number < 0 && v.dim.IsKnown():
			out[i] = o.greater
		default:
			return nil
		}
	}
	return out
}

// An item is one integer of a shape: a number, negative perhaps, or a
// dimension.
type item struct {
	isNumber bool
	number   int
	dim      graph.Dim
}

// listed is the contents of an int32 or int64 tensor of rank 0 or 1; empty
// where nothing or too much is known of them.
func listed(f graph.Fact) []item {
	if !f.Ranked || len(f.Shape) > 1 || f.DType != tensor.Int64 && f.DType != tensor.Int32 {
		return nil
	}
	if v, ok := constInts(f); ok && len(v) <= maxContents {
		out := make([]item, len(v))
		for i, n := range v {
			out[i] = item{true, n, graph.Unknown}
			if n >= 0 {
				out[i].dim = graph.Size(n)
			}
		}
		return out
	}
	out := make([]item, len(f.Ints))
	for i, d := range f.Ints {
		n, ok := d.Const()
		out[i] = item{ok, n, d}
	}
	return out
}

func compareAs[T cmp.Ordered](o *compare) func(x, y T) bool {
	return func(x, y T) bool { return x < y && o.less || x == y && o.equal || x > y && o.greater }
}

func (o *compare) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch a.DType() {
	case tensor.Float32:
		compareNumbers[float32](ctx.Pool, o, a, b, c)
	case tensor.Float64:
		compareNumbers[float64](ctx.Pool, o, a, b, c)
	case tensor.Int64:
		compareNumbers[int64](ctx.Pool, o, a, b, c)
	case tensor.Int32:
		compareNumbers[int32](ctx.Pool, o, a, b, c)
	case tensor.Int16:
		compareNumbers[int16](ctx.Pool, o, a, b, c)
	case tensor.Int8:
		compareNumbers[int8](ctx.Pool, o, a, b, c)
	case tensor.Uint64:
		compareNumbers[uint64](ctx.Pool, o, a, b, c)
	case tensor.Uint32:
		compareNumbers[uint32](ctx.Pool, o, a, b, c)
	case tensor.Uint16:
		compareNumbers[uint16](ctx.Pool, o, a, b, c)
	case tensor.Uint8:
		compareNumbers[uint8](ctx.Pool, o, a, b, c)
	case tensor.String:
		zipShared(ctx.Pool, a, b, c, compareAs[string](o))
	case tensor.Bool:
		compareNumbers[uint8](ctx.Pool, o, a, b, c)
	case tensor.Float16:
		f := compareAs[float32](o)
		zipShared(ctx.Pool, a, b, c, func(x, y uint16) bool { return f(tensor.Float16ToFloat32(x), tensor.Float16ToFloat32(y)) })
	case tensor.BFloat16:
		f := compareAs[float32](o)
		zipShared(ctx.Pool, a, b, c, func(x, y uint16) bool { return f(tensor.BFloat16ToFloat32(x), tensor.BFloat16ToFloat32(y)) })
	default:
		return unsupportedType(o.name, a.DType())
	}
	return nil
}

// compareNumbers compares element by element without a branch: what comes out may well be without a pattern.
func compareNumbers[T number](p *kernel.Pool, o *compare, a, b, c *tensor.Tensor) {
	if o.less { // x < y is y > x
		a, b = b, a
	}
	how := kernel.Greater
	switch {
	case !o.less && !o.greater:
		how = kernel.Equal
	case o.equal:
		how = kernel.GreaterOrEqual
	}
	zipRows(p, a, b, c, func(z []uint8, x, y []T) { kernel.CompareNumbers(how, z, x, y) })
}

// logic is And, Or or Xor of two boolean inputs.
type logic struct {
	name string
	op   kernel.Logic
}

func parseLogic(name string, op kernel.Logic) parser {
	return func(*attrs) Op { return &logic{name, op} }
}

func (o *logic) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err != nil {
		return nil, err
	}
	if out.DType != tensor.Bool && out.DType != tensor.Undefined {
		return nil, unsupportedType(o.name, out.DType)
	}
	out.DType = tensor.Bool
	return []graph.Fact{out}, nil
}

func (o *logic) Forward(ctx *Ctx, in, out []tensor.Value) error {
	zipBits[uint8](ctx.Pool, o.op, in[0].Tensor, in[1].Tensor, out[0].Tensor)
	return nil
}

// not is the negation of a boolean input.
type not struct{}

func parseNot(*attrs) Op { return not{} }

func (not) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if d := in[0].DType; d != tensor.Bool && d != tensor.Undefined {
		return nil, unsupportedType("Not", d)
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (not) Forward(ctx *Ctx, in, out []tensor.Value) error {
	zipBits[uint8](ctx.Pool, kernel.Xor, in[0].Tensor, always, out[0].Tensor)
	return nil
}

// always is what Not is the exclusive or with.
var always = tensor.Scalar(true)

// classify is IsNaN or IsInf.
type classify struct {
	name string
	f    func(float64) bool
}

func parseIsNaN(*attrs) Op { return &classify{"IsNaN", math.IsNaN} }

func parseIsInf(a *attrs) Op {
	neg, pos := a.bool("detect_negative", true), a.bool("detect_positive", true)
	return &classify{"IsInf", func(x float64) bool { return pos && math.IsInf(x, 1) || neg && math.IsInf(x, -1) }}
}

func (o *classify) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame(o.name, in)
	if err != nil {
		return nil, err
	}
	out[0].DType = tensor.Bool
	return out, nil
}

func (o *classify) Forward(_ *Ctx, in, out []tensor.Value) error {
	v, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return err
	}
	dst := tensor.Data[bool](out[0].Tensor)
	for i, x := range v {
		dst[i] = o.f(x)
	}
	return nil
}

// where picks each element from its second or third input by the first.
type where struct{}

func parseWhere(*attrs) Op { return where{} }

func (where) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	if d := in[0].DType; d != tensor.Bool && d != tensor.Undefined {
		return nil, fmt.Errorf("condition is %v, wanted bool", in[0].Type)
	}
	d, err := sameDType(in[1:])
	if err != nil {
		return nil, err
	}
	shape, ranked, err := broadcastShapes(in[0].Type, in[1].Type, in[2].Type)
	if err != nil {
		return nil, err
	}
	out := graph.Fact{Type: graph.Type{Kind: tensor.KindTensor, DType: d, Shape: shape, Ranked: ranked}}
	if v := chosen(in); v != nil && ranked && graph.Product(shape).Is(len(v)) {
		out = contents(d, v, shape...)
	}
	return []graph.Fact{out}, nil
}

// chosen is what a constant condition picks from two shapes that are only
// partly numbers; nil where nothing is known of it.
func chosen(in []graph.Fact) []graph.Dim {
	c, x, y := in[0], listed(in[1]), listed(in[2])
	if c.Const == nil || c.Const.Rank() > 1 || c.Const.DType() != tensor.Bool || len(x) == 0 || len(y) == 0 {
		return nil
	}
	cond := tensor.Data[bool](c.Const)
	n := max(len(cond), len(x), len(y))
	if len(cond) == 0 || n > maxContents || n%len(cond)+n%len(x)+n%len(y) > 0 {
		return nil
	}
	out := make([]graph.Dim, n)
	for i := range out {
		if out[i] = y[i%len(y)].dim; cond[i%len(cond)] {
			out[i] = x[i%len(x)].dim
		}
	}
	return out
}

func (where) Forward(ctx *Ctx, in, out []tensor.Value) error {
	z := out[0].Tensor
	if z.DType() == tensor.String {
		choose[string](ctx, in, z)
		return nil
	}
	switch z.DType().Bits() {
	case 8:
		choose[uint8](ctx, in, z)
	case 16:
		choose[uint16](ctx, in, z)
	case 32:
		choose[uint32](ctx, in, z)
	case 64:
		choose[uint64](ctx, in, z)
	case 128:
		choose[complex128](ctx, in, z)
	default:
		return unsupportedType("Where", z.DType())
	}
	return nil
}

// choose needs only the size of the elements.
func choose[T tensor.Elem](ctx *Ctx, in []tensor.Value, out *tensor.Tensor) {
	c, a, b := in[0].Tensor, in[1].Tensor, in[2].Tensor
	cond, x, y, z := tensor.Data[bool](c), tensor.Data[T](a), tensor.Data[T](b), tensor.Data[T](out)
	newWalk(out.Shape(), c.Shape(), a.Shape(), b.Shape()).share(ctx.Pool, func(at, n int, offs, steps []int) {
		chooseRow(z[at:at+n], cond[offs[0]:], steps[0], x[offs[1]:], steps[1], y[offs[2]:], steps[2])
	})
}

// chooseRow is choose on elements that lie together, but for operands whose step is 0: their one element is for all.
func chooseRow[T tensor.Elem](z []T, cond []bool, cs int, x []T, xs int, y []T, ys int) {
	switch {
	case len(z) == 1:
	case cs == 0:
		from, step := y, ys
		if cond[0] {
			from, step = x, xs
		}
		if step == 0 {
			setAll(z, from[0])
			return
		}
		copy(z, from)
		return
	case xs == 0 || ys == 0:
		chooseStepped(z, cond, x, xs, y, ys)
		return
	}
	kernel.Choose(z, cond, x, y)
}

func chooseStepped[T tensor.Elem](z []T, cond []bool, x []T, xs int, y []T, ys int) {
	var rooms [2][rowBlock]T
	v, w := oneOrRow(&rooms[0], x, xs, len(z)), oneOrRow(&rooms[1], y, ys, len(z))
	for k := 0; k < len(z); k += rowBlock {
		n := min(rowBlock, len(z)-k)
		kernel.Choose(z[k:k+n], cond[k:], v[k*xs:], w[k*ys:])
	}
}

func (where) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat("Where", out[0].Tensor.DType(),
		func() { whereBack[float32](in, out, dout, din) },
		func() { whereBack[float64](in, out, dout, din) })
}

// whereBack gives each element's gradient to the input that was picked.
func whereBack[T float](in, out, dout, din []tensor.Value) {
	cond, dz := tensor.Data[bool](in[0].Tensor), gradient[T](dout, 0)
	for i := 1; i <= 2; i++ {
		dx, picked := gradient[T](din, i), i == 1
		if dx == nil {
			continue
		}
		newWalk(out[0].Tensor.Shape(), in[0].Tensor.Shape(), in[i].Tensor.Shape()).rows(func(at, n int, offs, steps []int) {
			for k := range n {
				if cond[offs[0]+k*steps[0]] == picked {
					dx[offs[1]+k*steps[1]] += dz[at+k]
				}
			}
		})
	}
}
