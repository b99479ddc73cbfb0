package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// pad puts elements around its input, or takes some away where a number is
// negative: constants, or the input's own, reflected, repeated from the edge
// or from the other side. Before opset 11 the numbers are attributes.
type pad struct {
	mode    string
	pads    []int
	value   float32
	asInput bool
}

func parsePad(a *attrs) Op {
	o := &pad{mode: a.string("mode", "constant"), asInput: a.opset >= 11}
	if !o.asInput {
		a.require("pads")
		o.pads, o.value = a.ints("pads"), a.float("value", 0)
	}
	switch {
	case o.mode == "constant" || o.mode == "reflect" || o.mode == "edge":
	case o.mode == "wrap" && a.opset >= 19:
	default:
		a.fail(fmt.Errorf("opset %d has no mode %q", a.opset, o.mode))
	}
	return o
}

// margins is the numbers before and after each of rank axes.
func margins(pads, axes []int, rank int) (before, after []int, err error) {
	if axes == nil {
		axes = upTo(rank)
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	if axes, err = normAxes(axes, rank); err != nil {
		return nil, nil, err
	}
	before, after = make([]int, rank), make([]int, rank)
	for i, a := range axes {
		before[a], after[a] = pads[i], pads[len(axes)+i]
		for _, p := range []int{before[a], after[a]} {
			if p > tensor.MaxElements || p < -tensor.MaxElements {
				return nil, nil, fmt.Errorf("pads %v are too large", pads)
			}
		}
	}
	return before, after, nil
}

func (o *pad) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	pads, axes, known := o.pads, []int(nil), true
	if !o.asInput {
		if err := arity(in, 1, 1); err != nil {
			return nil, err
		}
	} else {
		if err := arity(in, 2, 4); err != nil {
			return nil, err
		}
		var err error
		var known2 bool
		if pads, known, err = axesOf(in, 1); err != nil {
			return nil, err
		}
		if axes, known2, err = axesOf(in, 3); err != nil {
			return nil, err
		}
		known = known && known2
		if given(in, 2) {
			if _, err := sameDType([]graph.Fact{in[0], in[2]}); err != nil {
				return nil, fmt.Errorf("data and constant value: %w", err)
			}
			if n, ok := graph.Product(in[2].Shape).Const(); in[2].Ranked && ok && n != 1 {
				return nil, fmt.Errorf("the constant value is %s, wanted one element", in[2].Type)
			}
		}
	}
	switch {
	case !in[0].Ranked:
		return unrankedFact(in[0].DType), nil
	case !known:
		return rankFact(in[0].DType, len(in[0].Shape)), nil
	}
	before, after, err := margins(pads, axes, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	shape := make([]graph.Dim, len(before))
	for i, d := range in[0].Shape {
		n, ok := d.Const()
		more := before[i] + after[i]
		switch {
		case before[i] == 0 && after[i] == 0:
			shape[i] = d
		case !ok:
			shape[i] = graph.Unknown
		case n+more < 0:
			return nil, fmt.Errorf("pads %v leave nothing of axis %d of %s", pads, i, in[0].Type)
		case n == 0 && more > 0 && o.mode != "constant":
			return nil, fmt.Errorf("axis %d of %s has nothing to %s", i, in[0].Type, o.mode)
		default:
			shape[i] = graph.Size(n + more)
		}
	}
	return tensorFact(in[0].DType, shape...), nil
}

// before is the numbers before each axis in a run.
func (o *pad) before(in []tensor.Value) ([]int, error) {
	pads, axes := o.pads, []int(nil)
	if o.asInput {
		pads, _ = intsIn(in[1].Tensor)
		if present(in, 3) {
			axes, _ = intsIn(in[3].Tensor)
		}
	}
	before, _, err := margins(pads, axes, in[0].Tensor.Rank())
	return before, err
}

func (o *pad) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	if y.Len() == 0 {
		return nil
	}
	before, err := o.before(in)
	if err != nil {
		return err
	}
	value := tensor.New(x.DType(), 1)
	switch {
	case present(in, 2):
		value = in[2].Tensor
	case o.value != 0:
		if value, err = tensor.FromFloat64s(x.DType(), []float64{float64(o.value)}, 1); err != nil {
			return err
		}
	}
	switch {
	case x.DType() == tensor.String:
		padAs[string](ctx.Pool, o, x, y, value, before)
	case x.DType().Bits() == 8:
		padAs[uint8](ctx.Pool, o, x, y, value, before)
	case x.DType().Bits() == 16:
		padAs[uint16](ctx.Pool, o, x, y, value, before)
	case x.DType().Bits() == 32:
		padAs[uint32](ctx.Pool, o, x, y, value, before)
	case x.DType().Bits() == 64:
		padAs[uint64](ctx.Pool, o, x, y, value, before)
	case x.DType().Bits() == 128:
		padAs[complex128](ctx.Pool, o, x, y, value, before)
	default:
		return unsupportedType("Pad", x.DType())
	}
	return nil
}

// padAs writes y row by row, over all cores: what is in x as one run, the margins by what they stand for. Trailing
// axes without margins are part of the run.
func padAs[T tensor.Elem](p *kernel.Pool, o *pad, x, y, value *tensor.Tensor, before []int) {
	to, from, v := tensor.Data[T](y), tensor.Data[T](x), tensor.Data[T](value)[0]
	xs, ys := x.Shape(), y.Shape()
	if len(xs) == 0 {
		to[0] = from[0]
		return
	}
	last := len(xs) - 1
	for last > 0 && before[last] == 0 && xs[last] == ys[last] {
		last--
	}
	inner, n := product(ys[last+1:]), ys[last]
	tables := o.tables(xs, ys, before)
	first := before[last]
	left, right := min(max(0, first), n), min(n, first+xs[last]) // the positions that lie in x
	per := min(n, max(1, elementGrain/inner))                    // positions of a piece
	pieces := (n-1)/per + 1
	upper, height, heights := ys[:last], 1, []int{0} // the axis above is walked along, not looked up
	if last > 0 {
		upper, height, heights = ys[:last-1], ys[last-1], tables[last-1]
	}
	copyRows := rowCopier[T](y, x)
	p.For(product(ys[:last])*pieces, max(1, elementGrain/(per*inner)), func(lo, hi int) {
		row, end := lo/pieces, lo%pieces*per
		block, at := row/height, row%height // of rows whose other axes are the same
		base, inside := rowSource(tables, upper, block)
		for k := 0; k < hi-lo; k++ {
			if end == n {
				end = 0
				if row, at = row+1, at+1; at == height {
					block, at = block+1, 0
					base, inside = rowSource(tables, upper, block)
				}
			}
			begin := end
			end = min(n, begin+per)
			out := to[(row*n+begin)*inner : (row*n+end)*inner]
			src := heights[at]
			if !inside || src < 0 {
				repeat(out, v)
				continue
			}
			src += base
			if rows := evenly(heights[at:min(height, at+hi-lo-k)]); pieces == 1 && rows > 1 && left < right {
				step := heights[at+1] - heights[at]
				copyRows(rows, (right-left)*inner, (row*n+left)*inner, n*inner, src+(left-first)*inner, step)
				for r := range rows {
					out := to[(row+r)*n*inner : (row+r+1)*n*inner]
					padMargin(out[:left*inner], from, tables[last][:left], src+r*step, inner, v)
					padMargin(out[right*inner:], from, tables[last][right:], src+r*step, inner, v)
				}
				row, at, k = row+rows-1, at+rows-1, k+rows-1
				continue
			}
			lo := min(max(begin, left), end)
			hi := max(lo, min(end, right))
			if lo < hi {
				copy(out[(lo-begin)*inner:(hi-begin)*inner], from[src+(lo-first)*inner:])
			}
			padMargin(out[:(lo-begin)*inner], from, tables[last][begin:lo], src, inner, v)
			padMargin(out[(hi-begin)*inner:], from, tables[last][hi:end], src, inner, v)
		}
	})
}

// evenly is how many places of a table, in the source and forwards, it begins with that are as far apart as its first
// two.
func evenly(table []int) int {
	n := 1
	for n < len(table) && table[n] > table[n-1] && table[n]-table[n-1] == table[1]-table[0] {
		n++
	}
	return n
}

// padMargin writes positions beside a row, of so many elements each: by the table, from src on, or with v.
func padMargin[T tensor.Elem](out, from []T, table []int, src, inner int, v T) {
	for k, at := range table {
		switch {
		case at < 0 && inner == 1:
			out[k] = v
		case at < 0:
			repeat(out[k*inner:(k+1)*inner], v)
		case inner == 1:
			out[k] = from[src+at]
		default:
			copy(out[k*inner:(k+1)*inner], from[src+at:])
		}
	}
}

// rowSource is where in x a row of y lies whose axes before the last are of the given shape: inside tells whether
// it does.
func rowSource(tables [][]int, shape []int, row int) (src int, inside bool) {
	for i := len(shape) - 1; i >= 0; i-- {
		at := tables[i][row%shape[i]]
		if at < 0 {
			return 0, false
		}
		src += at
		row /= shape[i]
	}
	return src, true
}

// keptBox is the part of x that stays in y.
func keptBox(x, y, before []int) box {
	b := box{shape: make([]int, len(x)), dstStrides: tensor.Strides(y), srcStrides: tensor.Strides(x)}
	for i, d := range x {
		lo := max(0, -before[i])     // the first of x that is kept
		hi := min(d, y[i]-before[i]) // and the end
		b.shape[i] = max(0, hi-lo)
		b.src += lo * b.srcStrides[i]
		b.dstAt += (lo + before[i]) * b.dstStrides[i]
	}
	return b
}

// Backward gives the gradient of each element to where it came from: x, or
// the constant value.
func (o *pad) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	x, y := in[0].Tensor, out[0].Tensor
	before, err := o.before(in)
	if err != nil {
		return err
	}
	if o.mode != "constant" {
		pos := o.positions(x.Shape(), y.Shape(), before)
		return byFloat("Pad", y.DType(),
			func() { scatterBack(gradient[float32](din, 0), gradient[float32](dout, 0), pos, 1) },
			func() { scatterBack(gradient[float64](din, 0), gradient[float64](dout, 0), pos, 1) })
	}
	kept := keptBox(x.Shape(), y.Shape(), before)
	if present(din, 2) {
		if err := byFloat("Pad", y.DType(),
			func() { padValueBack(kept, gradient[float32](din, 2), gradient[float32](dout, 0)) },
			func() { padValueBack(kept, gradient[float64](din, 2), gradient[float64](dout, 0)) }); err != nil {
			return err
		}
	}
	return boxBack("Pad", kept, dout, din)
}

// padValueBack adds the gradient of all that lies outside the kept part.
func padValueBack[T float](kept box, dvalue, dy []T) {
	outside := append([]T(nil), dy...)
	if product(kept.shape) > 0 {
		b := kept.merged()
		step := b.dstStrides[len(b.shape)-1]
		b.rows(func(at, _, n int) {
			for k := range n {
				outside[at+k*step] = 0
			}
		})
	}
	dvalue[0] += sumOf(outside)
}

// fill makes every element of y the one of value.
func fill(p *kernel.Pool, name string, y, value *tensor.Tensor) error {
	return copyBox(p, name, y, value, box{shape: []int{y.Len()}, dstStrides: []int{1}, srcStrides: []int{0}})
}

// positions is where in x, seen as a list, each element of y comes from.
func (o *pad) positions(x, y, before []int) []int {
	tables := o.tables(x, y, before)
	pos, idx := make([]int, product(y)), make([]int, len(y))
	for k := range pos {
		for i, n := range idx {
			pos[k] += tables[i][n]
		}
		advance(idx, y)
	}
	return pos
}

// tables is, for each axis of y, where in x, seen as a list, each position lies; below 0 where it is outside.
func (o *pad) tables(x, y, before []int) [][]int {
	strides := tensor.Strides(x)
	tables := make([][]int, len(x))
	for i, n := range y {
		tables[i] = make([]int, n)
		for k := range tables[i] {
			if at := o.inside(k-before[i], x[i]); at < 0 {
				tables[i][k] = -1
			} else {
				tables[i][k] = at * strides[i]
			}
		}
	}
	return tables
}

// inside is the position among d elements that position p, which may lie
// outside, stands for; below 0 for the constant.
func (o *pad) inside(p, d int) int {
	switch o.mode {
	case "constant":
		if p >= d {
			return -1
		}
		return p
	case "edge":
		return min(max(p, 0), d-1)
	case "wrap":
		return ((p % d) + d) % d
	}
	if d == 1 {
		return 0
	}
	// Reflected without repeating the edge: 0 1 2 3 2 1 0 1 …
	period := 2 * (d - 1)
	p = ((p % period) + period) % period
	return min(p, period-p)
}
