package op

import (
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// reduce folds the elements along axes. Floating point accumulates in
// float64. The axes are an attribute, from opset 13 (ReduceSum) or 18 (the
// others) on an input; none means all, unless noop says that it means none.
type reduce struct {
	name      string
	k         reduction
	axes      []int // attribute; nil: all
	axesInput bool
	keep      bool
	noop      bool
}

// A reduction starts at init, folds, and may finish with the count n.
type reduction struct {
	init float64
	step func(acc, x float64) float64
	end  func(acc float64, n int) float64
}

func identityEnd(acc float64, _ int) float64 { return acc }

func square(acc, x float64) float64 { return acc + x*x }

func addAbs(acc, x float64) float64 { return acc + math.Abs(x) }

var reductions = map[string]reduction{
	"ReduceSum":       {0, plus, identityEnd},
	"ReduceMean":      {0, plus, func(a float64, n int) float64 { return a / float64(n) }},
	"ReduceMax":       {math.Inf(-1), maximum, identityEnd},
	"ReduceMin":       {math.Inf(1), minimum, identityEnd},
	"ReduceProd":      {1, func(a, x float64) float64 { return a * x }, identityEnd},
	"ReduceL1":        {0, addAbs, identityEnd},
	"ReduceL2":        {0, square, func(a float64, _ int) float64 { return math.Sqrt(a) }},
	"ReduceSumSquare": {0, square, identityEnd},
	"ReduceLogSum":    {0, plus, func(a float64, _ int) float64 { return math.Log(a) }},
	// The maximum is taken out first, see reduceRows.
	"ReduceLogSumExp": {0, plus, func(a float64, _ int) float64 { return math.Log(a) }},
}

// parseReduce serves the form with an attribute, parseReduceInput the later one.
func parseReduce(name string) parser {
	return func(a *attrs) Op {
		return &reduce{name: name, k: reductions[name], axes: a.ints("axes"), keep: a.bool("keepdims", true)}
	}
}

func parseReduceInput(name string) parser {
	return func(a *attrs) Op {
		return &reduce{name: name, k: reductions[name], axesInput: true, keep: a.bool("keepdims", true),
			noop: a.bool("noop_with_empty_axes", false)}
	}
}

// resolve is the axes to reduce for an input of a rank; known is false where
// they come from an input whose contents are not.
func (o *reduce) resolve(axes []int, rank int) ([]bool, error) {
	mask := make([]bool, rank)
	if len(axes) == 0 {
		for i := range mask {
			mask[i] = !o.noop
		}
		return mask, nil
	}
	list, err := normAxes(axes, rank)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		mask[i] = true
	}
	return mask, nil
}

func (o *reduce) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	most := 1
	if o.axesInput {
		most = 2
	}
	if err := arity(in, 1, most); err != nil {
		return nil, err
	}
	x := in[0]
	axes := o.axes
	if given(in, 1) {
		var ok bool
		if axes, ok = constInts(in[1]); !ok {
			if x.Ranked && o.keep {
				return rankFact(x.DType, len(x.Shape)), nil
			}
			return unrankedFact(x.DType), nil
		}
	}
	if !x.Ranked {
		return unrankedFact(x.DType), nil
	}
	mask, err := o.resolve(axes, len(x.Shape))
	if err != nil {
		return nil, err
	}
	return tensorFact(x.DType, reducedDims(x.Shape, mask, o.keep)...), nil
}

func reducedDims(shape []graph.Dim, mask []bool, keep bool) []graph.Dim {
	out := []graph.Dim{}
	for i, d := range shape {
		switch {
		case !mask[i]:
			out = append(out, d)
		case keep:
			out = append(out, graph.Size(1))
		}
	}
	return out
}

func (o *reduce) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axes := o.axes
	if present(in, 1) {
		axes, _ = intsIn(in[1].Tensor)
	}
	mask, err := o.resolve(axes, x.Rank())
	if err != nil {
		return err
	}
	if x.DType() == tensor.Int64 || x.DType() == tensor.Uint64 {
		if f := int64Reduction(o.name); f != nil {
			return reduceInt64(x, y, mask, f)
		}
	}
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType(o.name, x.DType())
	}
	acc := make([]float64, y.Len())
	var shift []float64
	if o.name == "ReduceLogSumExp" {
		shift = filled(len(acc), math.Inf(-1))
		eachReduced(x.Shape(), mask, func(i, j int) { shift[j] = math.Max(shift[j], v[i]) })
		for j, s := range shift {
			if math.IsInf(s, 0) {
				shift[j] = 0 // e^(x−∞) would be NaN
			}
		}
		eachReduced(x.Shape(), mask, func(i, j int) { v[i] = math.Exp(v[i] - shift[j]) })
	}
	for j := range acc {
		acc[j] = o.k.init
	}
	eachReduced(x.Shape(), mask, func(i, j int) { acc[j] = o.k.step(acc[j], v[i]) })
	n := 1
	for i, d := range x.Shape() {
		if mask[i] {
			n *= d
		}
	}
	for j := range acc {
		acc[j] = o.k.end(acc[j], n)
		if shift != nil {
			acc[j] += shift[j]
		}
	}
	return storeFloats(acc, y)
}

func (o *reduce) hasGradient() bool { return o.name != "ReduceProd" }

// Backward is dx += ∂y/∂x·dy; the gradient of an extreme is shared evenly
// among the elements that are equal to it.
func (o *reduce) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	axes := o.axes
	if present(in, 1) {
		axes, _ = intsIn(in[1].Tensor)
	}
	mask, err := o.resolve(axes, in[0].Tensor.Rank())
	if err != nil {
		return err
	}
	return byFloat(o.name, out[0].Tensor.DType(),
		func() { reduceBack[float32](o, mask, in, out, dout, din) },
		func() { reduceBack[float64](o, mask, in, out, dout, din) })
}

func reduceBack[T float](o *reduce, mask []bool, in, out, dout, din []tensor.Value) {
	shape, count := in[0].Tensor.Shape(), 1
	kept := make([]int, len(shape)) // y's shape with the reduced axes kept
	for k, d := range shape {
		if kept[k] = d; mask[k] {
			kept[k] = 1
			count *= d
		}
	}
	x, dx := tensor.Data[T](in[0].Tensor), gradient[T](din, 0)
	y, dy := tensor.Data[T](out[0].Tensor), gradient[T](dout, 0)
	if o.name == "ReduceMean" || o.name == "ReduceSum" {
		scale := T(1)
		if o.name == "ReduceMean" {
			scale = 1 / T(count)
		}
		newWalk(shape, kept).rows(func(at, n int, offs, steps []int) {
			if steps[0] == 1 {
				addScaled(dx[at:at+n], scale, dy[offs[0]:])
				return
			}
			g := scale * dy[offs[0]]
			for k := at; k < at+n; k++ {
				dx[k] += g
			}
		})
		return
	}
	var ties []float64
	if o.name == "ReduceMax" || o.name == "ReduceMin" {
		ties = make([]float64, len(y))
		eachReduced(shape, mask, func(i, j int) {
			if x[i] == y[j] {
				ties[j]++
			}
		})
	}
	eachReduced(shape, mask, func(i, j int) {
		v, w, d := float64(x[i]), float64(y[j]), 0.0
		switch o.name {
		case "ReduceMax", "ReduceMin":
			d = stepped(v == w, 1/ties[j], 0)
		case "ReduceL1":
			d = sign(v)
		case "ReduceL2":
			d = stepped(w > 0, v/w, 0)
		case "ReduceSumSquare":
			d = 2 * v
		case "ReduceLogSum":
			d = math.Exp(-w)
		case "ReduceLogSumExp":
			d = math.Exp(v - w)
		}
		dx[i] += T(d * float64(dy[j]))
	})
}

func filled(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// int64Reduction is the exact form of reductions whose results may pass the
// 53 bits that float64 holds; nil where there is none.
func int64Reduction(name string) func(acc, x int64, first bool) int64 {
	switch name {
	case "ReduceSum":
		return func(a, x int64, _ bool) int64 { return a + x }
	case "ReduceProd":
		return func(a, x int64, first bool) int64 {
			if first {
				return x
			}
			return a * x
		}
	case "ReduceMax":
		return func(a, x int64, first bool) int64 {
			if first {
				return x
			}
			return max(a, x)
		}
	case "ReduceMin":
		return func(a, x int64, first bool) int64 {
			if first {
				return x
			}
			return min(a, x)
		}
	case "ReduceSumSquare":
		return func(a, x int64, _ bool) int64 { return a + x*x }
	}
	return nil
}

func reduceInt64(x, y *tensor.Tensor, mask []bool, f func(acc, x int64, first bool) int64) error {
	v, err := tensor.Int64s(x)
	if err != nil {
		return err
	}
	acc, seen := make([]int64, y.Len()), make([]bool, y.Len())
	eachReduced(x.Shape(), mask, func(i, j int) {
		acc[j] = f(acc[j], v[i], !seen[j])
		seen[j] = true
	})
	return storeInts(acc, y)
}

// eachReduced calls f with the position of each element of a tensor and that
// of the element it is reduced into, in order.
func eachReduced(shape []int, mask []bool, f func(i, j int)) {
	strides, n := make([]int, len(shape)), 1
	for k := len(shape) - 1; k >= 0; k-- {
		if !mask[k] {
			strides[k] = n
			n *= shape[k]
		}
	}
	total := product(shape)
	if total == 0 {
		return
	}
	idx := make([]int, len(shape))
	for i, j := 0, 0; ; {
		f(i, j)
		if i++; i == total {
			return
		}
		for k := len(shape) - 1; ; k-- {
			idx[k]++
			j += strides[k]
			if idx[k] < shape[k] {
				break
			}
			j -= strides[k] * shape[k]
			idx[k] = 0
		}
	}
}

// argReduce is ArgMax or ArgMin: the position of the extreme along one axis.
type argReduce struct {
	name string
	axis int
	keep bool
	last bool
	max  bool
}

func parseArg(name string, isMax bool) parser {
	return func(a *attrs) Op {
		return &argReduce{name, int(a.int("axis", 0)), a.bool("keepdims", true), a.bool("select_last_index", false), isMax}
	}
}

func (o *argReduce) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return unrankedFact(tensor.Int64), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	mask := make([]bool, len(in[0].Shape))
	mask[axis] = true
	return tensorFact(tensor.Int64, reducedDims(in[0].Shape, mask, o.keep)...), nil
}

func (o *argReduce) Forward(_ *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType(o.name, x.DType())
	}
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	outer, n, inner := around(x.Shape(), axis)
	dst := tensor.Data[int64](out[0].Tensor)
	for i := range outer {
		for j := range inner {
			row, best := v[i*n*inner+j:], 0
			for k := 1; k < n; k++ {
				a, b := row[k*inner], row[best*inner]
				if a == b && o.last || a != b && (a > b) == o.max {
					best = k
				}
			}
			dst[i*inner+j] = int64(best)
		}
	}
	return nil
}

// around is the number of elements before, along and after an axis.
func around(shape []int, axis int) (outer, n, inner int) {
	return product(shape[:axis]), shape[axis], product(shape[axis+1:])
}

// cumSum adds up along an axis that an input gives.
type cumSum struct{ exclusive, reverse bool }

func parseCumSum(a *attrs) Op { return &cumSum{a.bool("exclusive", false), a.bool("reverse", false)} }

func (o *cumSum) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *cumSum) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	list, ok := intsIn(in[1].Tensor)
	if !ok || len(list) != 1 {
		return unsupportedType("CumSum", in[1].Tensor.DType())
	}
	axis, err := normAxis(list[0], x.Rank())
	if err != nil {
		return err
	}
	switch x.DType() {
	case tensor.Float32:
		cumulate[float32](o, x, y, axis)
	case tensor.Float64:
		cumulate[float64](o, x, y, axis)
	case tensor.Int32:
		cumulate[int32](o, x, y, axis)
	case tensor.Int64:
		cumulate[int64](o, x, y, axis)
	case tensor.Uint32:
		cumulate[uint32](o, x, y, axis)
	case tensor.Uint64:
		cumulate[uint64](o, x, y, axis)
	default:
		return unsupportedType("CumSum", x.DType())
	}
	return nil
}

func cumulate[T integer | float32 | float64](o *cumSum, x, y *tensor.Tensor, axis int) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	outer, n, inner := around(x.Shape(), axis)
	for i := range outer {
		for j := range inner {
			var acc T
			for k := range n {
				if o.reverse {
					k = n - 1 - k
				}
				at := (i*n+k)*inner + j
				if o.exclusive {
					dst[at] = acc
					acc += src[at]
				} else {
					acc += src[at]
					dst[at] = acc
				}
			}
		}
	}
}
