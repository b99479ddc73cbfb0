package op

import (
	"errors"
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// rangeOf counts from start to limit (exclusive) by delta.
type rangeOf struct{}

func parseRange(*attrs) Op { return rangeOf{} }

func (rangeOf) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	for i, f := range in {
		if n, ok := graph.Product(f.Shape).Const(); f.Ranked && ok && n != 1 {
			return nil, fmt.Errorf("input %d is %s, wanted a scalar", i, f.Type)
		}
	}
	start, limit, delta := in[0], in[1], in[2]
	if start.Const != nil && limit.Const != nil && delta.Const != nil {
		n, err := rangeLen(start.Const, limit.Const, delta.Const)
		if err != nil {
			return nil, err
		}
		return tensorFact(d, graph.Size(n)), nil
	}
	if len(start.Ints) == 1 && start.Ints[0].Is(0) && len(delta.Ints) == 1 && delta.Ints[0].Is(1) && len(limit.Ints) == 1 {
		return tensorFact(d, limit.Ints[0]), nil
	}
	return rankFact(d, 1), nil
}

// maxRange bounds what Range counts, so that its length is exact as a number.
const maxRange = 1 << 40

// rangeLen is max(0, ceil((limit − start) / delta)).
func rangeLen(start, limit, delta *tensor.Tensor) (int, error) {
	a, ok := intsIn(start)
	b, ok2 := intsIn(limit)
	d, ok3 := intsIn(delta)
	if ok && ok2 && ok3 {
		return intRangeLen(a[0], b[0], d[0])
	}
	var v [3]float64
	for i, t := range []*tensor.Tensor{start, limit, delta} {
		f, err := tensor.Float64s(t)
		if err != nil {
			return 0, err
		}
		v[i] = f[0]
	}
	n := math.Ceil((v[1] - v[0]) / v[2])
	switch {
	case v[2] == 0:
		return 0, errNoStep
	case n <= 0:
		return 0, nil
	case !(n < maxRange):
		return 0, fmt.Errorf("from %v to %v by %v is too much", v[0], v[1], v[2])
	}
	return int(n), nil
}

var errNoStep = errors.New("delta is 0")

func intRangeLen(start, limit, delta int) (int, error) {
	// Differences as uint cannot overflow.
	var span, step uint
	switch {
	case delta == 0:
		return 0, errNoStep
	case delta > 0 && limit > start:
		span, step = uint(limit)-uint(start), uint(delta)
	case delta < 0 && limit < start:
		span, step = uint(start)-uint(limit), -uint(delta)
	default:
		return 0, nil
	}
	n := (span-1)/step + 1
	if n >= maxRange {
		return 0, fmt.Errorf("from %d to %d by %d is too much", start, limit, delta)
	}
	return int(n), nil
}

func (o rangeOf) Forward(ctx *Ctx, in, out []tensor.Value) error {
	start, delta, y := in[0].Tensor, in[2].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Float32:
		count[float32](start, delta, y)
	case tensor.Float64:
		count[float64](start, delta, y)
	case tensor.Int16:
		count[int16](start, delta, y)
	case tensor.Int32:
		count[int32](start, delta, y)
	case tensor.Int64:
		count[int64](start, delta, y)
	default:
		return unsupportedType("Range", y.DType())
	}
	return nil
}

func count[T float32 | float64 | int16 | int32 | int64](start, delta, y *tensor.Tensor) {
	v, d := tensor.Data[T](start)[0], tensor.Data[T](delta)[0]
	for i, out := 0, tensor.Data[T](y); i < len(out); i++ {
		out[i] = v + T(i)*d
	}
}

// eyeLike is a matrix of the input's shape with ones on the k-th diagonal.
type eyeLike struct {
	dtype tensor.DType // Undefined: the input's
	k     int
}

func parseEyeLike(a *attrs) Op {
	return &eyeLike{a.dtype("dtype", tensor.Undefined), int(a.int("k", 0))}
}

func (o *eyeLike) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := withRank(in[0], "input", 2); err != nil {
		return nil, err
	}
	d := o.dtype
	if d == tensor.Undefined {
		d = in[0].DType
	}
	if !in[0].Ranked {
		return rankFact(d, 2), nil
	}
	return tensorFact(d, in[0].Shape...), nil
}

func (o *eyeLike) Forward(_ *Ctx, _, out []tensor.Value) error {
	y := out[0].Tensor
	one, err := oneOf(y.DType())
	if err != nil {
		return unsupportedType("EyeLike", y.DType())
	}
	to, from, err := cellsPair("EyeLike", y, one)
	if err != nil {
		return err
	}
	clear(y.Bytes())
	rows, cols := y.Shape()[0], y.Shape()[1]
	for i := range rows {
		if j := i + o.k; j >= 0 && j < cols {
			to.copy(i*cols+j, from, 0, 1)
		}
	}
	return nil
}

// oneOf is the number 1 of an element type.
func oneOf(d tensor.DType) (*tensor.Tensor, error) {
	if d == tensor.Bool || d.IsInteger() && d.Bits() >= 8 {
		one := tensor.New(d)
		one.Bytes()[0] = 1 // elements are little-endian
		return one, nil
	}
	return tensor.FromFloat64s(d, []float64{1})
}

// trilu keeps of each matrix in the last two axes what lies on and above the
// k-th diagonal, or on and below it, and makes the rest zero.
type trilu struct{ upper bool }

func parseTrilu(a *attrs) Op { return &trilu{a.bool("upper", true)} }

func (o *trilu) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 2); err != nil {
		return nil, err
	}
	if in[0].Ranked && len(in[0].Shape) < 2 {
		return nil, fmt.Errorf("input is %s, wanted rank 2 or more", in[0].Type)
	}
	if given(in, 1) {
		if n, ok := graph.Product(in[1].Shape).Const(); in[1].Ranked && ok && n != 1 {
			return nil, fmt.Errorf("k is %s, wanted a scalar", in[1].Type)
		}
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *trilu) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	to, from, err := cellsPair("Trilu", y, x)
	if err != nil {
		return err
	}
	k := 0
	if present(in, 1) {
		v, ok := intsIn(in[1].Tensor)
		if !ok {
			return fmt.Errorf("k is %v, wanted an integer", in[1].Tensor)
		}
		k = v[0]
	}
	if x.DType() == tensor.String {
		return unsupportedType("Trilu", x.DType())
	}
	clear(y.Bytes())
	rank := x.Rank()
	rows, cols := x.Shape()[rank-2], x.Shape()[rank-1]
	// Beyond the matrix every diagonal is alike; clamping avoids overflow.
	k = min(max(k, -rows), cols)
	for r := range product(x.Shape()[:rank-1]) {
		lo, hi := min(max(r%rows+k, 0), cols), cols
		if !o.upper {
			lo, hi = 0, min(max(r%rows+k+1, 0), cols)
		}
		to.copy(r*cols+lo, from, r*cols+lo, hi-lo)
	}
	return nil
}

// oneHot replaces each index by a list of depth values along a new axis: on
// at the index, off elsewhere.
type oneHot struct{ axis int }

func parseOneHot(a *attrs) Op { return &oneHot{int(a.int("axis", -1))} }

func (o *oneHot) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	if n, ok := graph.Product(in[2].Shape).Const(); in[2].Ranked && (len(in[2].Shape) != 1 || ok && n != 2) {
		return nil, fmt.Errorf("values are %s, wanted [off on]", in[2].Type)
	}
	if n, ok := graph.Product(in[1].Shape).Const(); in[1].Ranked && ok && n != 1 {
		return nil, fmt.Errorf("depth is %s, wanted a scalar", in[1].Type)
	}
	depth := graph.Unknown
	if len(in[1].Ints) == 1 {
		depth = in[1].Ints[0]
	} else if in[1].Const != nil {
		v, err := tensor.Float64s(in[1].Const)
		if err != nil {
			return nil, err
		}
		if !(v[0] >= 0 && v[0] < 1<<40) {
			return nil, fmt.Errorf("depth is %v", v[0])
		}
		depth = graph.Size(int(v[0]))
	}
	if !in[0].Ranked {
		return unrankedFact(in[2].DType), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape)+1)
	if err != nil {
		return nil, err
	}
	shape := append([]graph.Dim{}, in[0].Shape[:axis]...)
	shape = append(append(shape, depth), in[0].Shape[axis:]...)
	return tensorFact(in[2].DType, shape...), nil
}

func (o *oneHot) Forward(ctx *Ctx, in, out []tensor.Value) error {
	y, values := out[0].Tensor, in[2].Tensor
	axis, err := normAxis(o.axis, y.Rank())
	if err != nil {
		return err
	}
	at, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return err
	}
	to, from, err := cellsPair("OneHot", y, values)
	if err != nil {
		return err
	}
	depth, inner := y.Shape()[axis], product(y.Shape()[axis+1:])
	mark := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			v := at[i]
			if v < 0 {
				v += float64(depth)
			}
			if v >= 0 && v < float64(depth) { // any other index is all off
				to.copy((i/inner*depth+int(v))*inner+i%inner, from, 1, 1)
			}
		}
	}
	if y.Len() == 0 {
		return nil
	}
	outer, size := len(at)/inner, depth*inner
	if outer == 1 {
		if err := fill(ctx.Pool, "OneHot", y, values); err != nil {
			return err
		}
		mark(0, len(at))
		return nil
	}
	ctx.Pool.For(outer, max(1, elementGrain/size), func(lo, hi int) {
		to.repeat(lo*size, from, (hi-lo)*size)
		mark(lo*inner, hi*inner)
	})
	return nil
}
