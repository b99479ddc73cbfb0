package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// variadic folds any number of inputs that broadcast to one another: Min,
// Max, Sum, Mean.
type variadic struct{ name string }

func parseVariadic(name string) parser {
	return func(*attrs) Op { return &variadic{name} }
}

func (o *variadic) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 1, -1)
	return []graph.Fact{out}, err
}

func (o *variadic) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		o.fold32(ctx, in, out[0].Tensor)
	case tensor.Float64:
		foldAs[float64](ctx, o, in, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		foldAs[int64](ctx, o, in, out[0].Tensor)
	case tensor.Int32:
		foldAs[int32](ctx, o, in, out[0].Tensor)
	case tensor.Int16:
		foldAs[int16](ctx, o, in, out[0].Tensor)
	case tensor.Int8:
		foldAs[int8](ctx, o, in, out[0].Tensor)
	case tensor.Uint64:
		foldAs[uint64](ctx, o, in, out[0].Tensor)
	case tensor.Uint32:
		foldAs[uint32](ctx, o, in, out[0].Tensor)
	case tensor.Uint16:
		foldAs[uint16](ctx, o, in, out[0].Tensor)
	case tensor.Uint8:
		foldAs[uint8](ctx, o, in, out[0].Tensor)
	default:
		return unsupportedType(o.name, d)
	}
	return nil
}

func (o *variadic) operation() kernel.Operation {
	switch o.name {
	case "Min":
		return kernel.Minimum
	case "Max":
		return kernel.Maximum
	}
	return kernel.Plus
}

// fold32 is foldAs for float32.
func (o *variadic) fold32(ctx *Ctx, in []tensor.Value, c *tensor.Tensor) {
	op := o.operation()
	if len(in) == 1 {
		copy(tensor.Data[float32](c), tensor.Data[float32](in[0].Tensor))
		return
	}
	zip32(ctx.Pool, op, in[0].Tensor, in[1].Tensor, c)
	for _, v := range in[2:] {
		zip32(ctx.Pool, op, c, v.Tensor, c)
	}
	if n := c.Len(); o.name == "Mean" {
		z, count := tensor.Data[float32](c), [1]float32{float32(len(in))}
		kernel.Zip32(ctx.Pool, kernel.Over, 1, n, z, n, z, n, 1, count[:], 0, 0)
	}
}

// foldAs gives NaN where an operand of Min or Max is.
func foldAs[T number](ctx *Ctx, o *variadic, in []tensor.Value, c *tensor.Tensor) {
	op := o.operation()
	if len(in) == 1 {
		copy(tensor.Data[T](c), tensor.Data[T](in[0].Tensor))
		return
	}
	zipNumbers[T](ctx.Pool, op, in[0].Tensor, in[1].Tensor, c)
	for _, v := range in[2:] {
		zipNumbers[T](ctx.Pool, op, c, v.Tensor, c)
	}
	if o.name == "Mean" {
		dst := tensor.Data[T](c)
		for i := range dst {
			dst[i] /= T(len(in))
		}
	}
}

func (o *variadic) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat(o.name, out[0].Tensor.DType(),
		func() { variadicBack[float32](o, in, out, dout, din) },
		func() { variadicBack[float64](o, in, out, dout, din) })
}

// variadicBack shares the gradient of an extreme evenly among the inputs that
// are equal to it.
func variadicBack[T float](o *variadic, in, out, dout, din []tensor.Value) {
	y, shape, dy := tensor.Data[T](out[0].Tensor), out[0].Tensor.Shape(), gradient[T](dout, 0)
	extreme := o.name == "Min" || o.name == "Max"
	if extreme {
		ties := make([]T, len(y))
		for _, v := range in {
			zipBack(ties, ties, shape, tensor.Data[T](v.Tensor), v.Tensor.Shape(), y, shape, func(_, x, y T) T {
				if x == y {
					return 1
				}
				return 0
			})
		}
		shared := make([]T, len(y))
		for i, g := range dy {
			shared[i] = g / max(1, ties[i])
		}
		dy = shared
	}
	for k, v := range in {
		dx, x, xs := gradient[T](din, k), tensor.Data[T](v.Tensor), v.Tensor.Shape()
		switch {
		case dx == nil:
		case extreme:
			zipBack(dx, x, xs, y, shape, dy, shape, func(x, y, g T) T {
				if x == y {
					return g
				}
				return 0
			})
		case o.name == "Mean":
			addReduced(dx, xs, 1/T(len(in)), dy, shape)
		default:
			addReduced(dx, xs, 1, dy, shape)
		}
	}
}

// clip keeps elements between two bounds, each of which may be left out; they
// are attributes before opset 11 and inputs from there on.
type clip struct {
	inputs   bool
	min, max float64
}

func parseClip6(a *attrs) Op {
	return &clip{false, float64(a.float("min", -math.MaxFloat32)), float64(a.float("max", math.MaxFloat32))}
}

func parseClip11(*attrs) Op { return &clip{inputs: true} }

func (o *clip) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	most := 1
	if o.inputs {
		most = 3
	}
	if err := arity(in, 1, most); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	if !o.inputs && d != tensor.Undefined && !d.IsFloat() {
		return nil, unsupportedType("Clip", d)
	}
	for i := 1; i < len(in); i++ {
		if given(in, i) && in[i].Ranked {
			if n, ok := graph.Product(in[i].Shape).Const(); ok && n != 1 {
				return nil, fmt.Errorf("input %d is %v, wanted a scalar", i, in[i].Type)
			}
		}
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *clip) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		lo, hi := clipBounds(o, in, float32(math.Inf(-1)), float32(math.Inf(1)))
		if lo != lo || hi != hi { // NaN is for clipTo to pass on
			clipTo(ctx, in, out, lo, hi)
			return nil
		}
		kernel.Unary32(ctx.Pool, kernel.Clip, tensor.Data[float32](out[0].Tensor), tensor.Data[float32](in[0].Tensor), lo, hi)
	case tensor.Float64:
		lo, hi := clipBounds(o, in, math.Inf(-1), math.Inf(1))
		clipTo(ctx, in, out, lo, hi)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		lo, hi := clipBounds[int64](o, in, math.MinInt64, math.MaxInt64)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Int32:
		lo, hi := clipBounds[int32](o, in, math.MinInt32, math.MaxInt32)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Int16:
		lo, hi := clipBounds[int16](o, in, math.MinInt16, math.MaxInt16)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Int8:
		lo, hi := clipBounds[int8](o, in, math.MinInt8, math.MaxInt8)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Uint64:
		lo, hi := clipBounds[uint64](o, in, 0, math.MaxUint64)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Uint32:
		lo, hi := clipBounds[uint32](o, in, 0, math.MaxUint32)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Uint16:
		lo, hi := clipBounds[uint16](o, in, 0, math.MaxUint16)
		clipTo(ctx, in, out, lo, hi)
	case tensor.Uint8:
		lo, hi := clipBounds[uint8](o, in, 0, math.MaxUint8)
		clipTo(ctx, in, out, lo, hi)
	default:
		return unsupportedType("Clip", d)
	}
	return nil
}

func clipBounds[T number](o *clip, in []tensor.Value, lo, hi T) (T, T) {
	if !o.inputs {
		return T(o.min), T(o.max)
	}
	if present(in, 1) {
		lo = tensor.Data[T](in[1].Tensor)[0]
	}
	if present(in, 2) {
		hi = tensor.Data[T](in[2].Tensor)[0]
	}
	return lo, hi
}

// clipTo lets NaN pass; where the bounds cross, the upper one wins.
func clipTo[T number](ctx *Ctx, in, out []tensor.Value, lo, hi T) {
	src, dst := tensor.Data[T](in[0].Tensor), tensor.Data[T](out[0].Tensor)
	ctx.Pool.For(len(src), elementGrain, func(from, to int) {
		var least, most [rowBlock]T
		setAll(least[:], lo)
		setAll(most[:], hi)
		for ; from < to; from += rowBlock {
			n := min(rowBlock, to-from)
			dst := dst[from : from+n]
			kernel.ZipNumbers(kernel.Maximum, dst, src[from:], least[:])
			kernel.ZipNumbers(kernel.Minimum, dst, dst, most[:])
		}
	})
}

func (o *clip) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat("Clip", out[0].Tensor.DType(),
		func() { clipBack(o, in, dout, din, float32(math.Inf(-1)), float32(math.Inf(1))) },
		func() { clipBack(o, in, dout, din, math.Inf(-1), math.Inf(1)) })
}

// clipBack gives each element's gradient to what the element came from: x or
// one of the bounds.
func clipBack[T float](o *clip, in, dout, din []tensor.Value, lo, hi T) {
	lo, hi = clipBounds(o, in, lo, hi)
	dy, dx := gradient[T](dout, 0), gradient[T](din, 0)
	var below, above T
	for i, v := range tensor.Data[T](in[0].Tensor) {
		switch {
		case v > hi || v < lo && lo > hi:
			above += dy[i]
		case v < lo:
			below += dy[i]
		case dx != nil:
			dx[i] += dy[i]
		}
	}
	for k, s := range []T{below, above} {
		if d := gradient[T](din, 1+k); d != nil {
			d[0] += s
		}
	}
}
