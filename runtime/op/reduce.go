package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// reduce folds the elements along axes. Floating point accumulates in
// float64. The axes are an attribute, from opset 13 (ReduceSum) or 18 (the
// others) on an input; none means all, unless noop says that it means none.
type reduce struct {
	name      string
	axes      []int // attribute; nil: all
	axesInput bool
	keep      bool
	noop      bool
}

// A folding is what a reduction adds up, or which element it keeps.
type folding uint8

const (
	foldSum folding = iota
	foldAbs
	foldSquare
	foldProd
	foldMax
	foldMin
	foldExp // e^(x − the largest)
)

// foldings is the folding of each operator; what follows it, finish says.
var foldings = map[string]folding{
	"ReduceSum": foldSum, "ReduceMean": foldSum, "ReduceLogSum": foldSum,
	"ReduceL1": foldAbs, "ReduceL2": foldSquare, "ReduceSumSquare": foldSquare,
	"ReduceProd": foldProd, "ReduceMax": foldMax, "ReduceMin": foldMin, "ReduceLogSumExp": foldExp,
}

// parseReduce serves the form with an attribute, parseReduceInput the later one.
func parseReduce(name string) parser {
	return func(a *attrs) Op {
		return &reduce{name: name, axes: a.ints("axes"), keep: a.bool("keepdims", true)}
	}
}

func parseReduceInput(name string) parser {
	return func(a *attrs) Op {
		return &reduce{name: name, axesInput: true, keep: a.bool("keepdims", true),
			noop: a.bool("noop_with_empty_axes", false)}
	}
}

// resolve marks the axes to reduce of an input of a rank.
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
		if d := in[1].DType; d != tensor.Int64 && d != tensor.Undefined {
			return nil, fmt.Errorf("axes are %v, wanted int64", in[1].Type)
		}
		list, ok, err := axesOf(in, 1)
		if err != nil {
			return nil, err
		}
		if axes = list; !ok {
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
	shape := reducedDims(x.Shape, mask, o.keep)
	if o.name == "ReduceProd" && len(mask) == 1 && mask[0] && x.Ints != nil {
		// The number of elements of a tensor, from its shape.
		return []graph.Fact{contents(x.DType, []graph.Dim{graph.Product(x.Ints)}, shape...)}, nil
	}
	return tensorFact(x.DType, shape...), nil
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

func (o *reduce) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axes := o.axes
	if present(in, 1) {
		axes, _ = intsIn(in[1].Tensor)
	}
	mask, err := o.resolve(axes, x.Rank())
	if err != nil {
		return err
	}
	switch d := x.DType(); d {
	case tensor.Float32:
		reduceAs(ctx.Pool, o.name, x, y, mask, math.Inf(-1), math.Inf(1), tensor.Data[float32](x), tensor.Data[float32](y))
	case tensor.Float64:
		reduceAs(ctx.Pool, o.name, x, y, mask, math.Inf(-1), math.Inf(1), tensor.Data[float64](x), tensor.Data[float64](y))
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		reduceAs[int64, int64](ctx.Pool, o.name, x, y, mask, math.MinInt64, math.MaxInt64, tensor.Data[int64](x), tensor.Data[int64](y))
	case tensor.Int32:
		reduceAs[int32, int64](ctx.Pool, o.name, x, y, mask, math.MinInt32, math.MaxInt32, tensor.Data[int32](x), tensor.Data[int32](y))
	case tensor.Int8:
		reduceAs[int8, int64](ctx.Pool, o.name, x, y, mask, math.MinInt8, math.MaxInt8, tensor.Data[int8](x), tensor.Data[int8](y))
	case tensor.Uint64:
		reduceAs[uint64, uint64](ctx.Pool, o.name, x, y, mask, 0, math.MaxUint64, tensor.Data[uint64](x), tensor.Data[uint64](y))
	case tensor.Uint32:
		reduceAs[uint32, uint64](ctx.Pool, o.name, x, y, mask, 0, math.MaxUint32, tensor.Data[uint32](x), tensor.Data[uint32](y))
	case tensor.Uint8:
		reduceAs[uint8, uint64](ctx.Pool, o.name, x, y, mask, 0, math.MaxUint8, tensor.Data[uint8](x), tensor.Data[uint8](y))
	case tensor.Bool:
		return o.reduceBool(x, y, mask)
	default:
		return unsupportedType(o.name, d)
	}
	return nil
}

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
	if o.name == "ReduceProd" {
		productBack(shape, mask, x, dy, dx)
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
