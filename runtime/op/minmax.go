package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// variadic folds any number of inputs that broadcast to one another: Min,
// Max, Sum, Mean.
type variadic struct {
	name string
	f    func(x, y float64) float64
	mean bool
}

func parseVariadic(name string, f func(x, y float64) float64, mean bool) parser {
	return func(*attrs) Op { return &variadic{name, f, mean} }
}

// minimum and maximum give NaN where an operand is.
func minimum(x, y float64) float64 { return math.Min(x, y) }
func maximum(x, y float64) float64 { return math.Max(x, y) }
func plus(x, y float64) float64    { return x + y }

func (o *variadic) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 1, -1)
	return []graph.Fact{out}, err
}

func (o *variadic) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		fold(in, out[0].Tensor, o.mean, func(x, y float32) float32 { return float32(o.f(float64(x), float64(y))) })
	case tensor.Float64:
		fold(in, out[0].Tensor, o.mean, o.f)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		foldInt[int64](o, in, out[0].Tensor)
	case tensor.Int32:
		foldInt[int32](o, in, out[0].Tensor)
	case tensor.Int16:
		foldInt[int16](o, in, out[0].Tensor)
	case tensor.Int8:
		foldInt[int8](o, in, out[0].Tensor)
	case tensor.Uint64:
		foldInt[uint64](o, in, out[0].Tensor)
	case tensor.Uint32:
		foldInt[uint32](o, in, out[0].Tensor)
	case tensor.Uint16:
		foldInt[uint16](o, in, out[0].Tensor)
	case tensor.Uint8:
		foldInt[uint8](o, in, out[0].Tensor)
	default:
		return unsupportedType(o.name, d)
	}
	return nil
}

func foldInt[T integer](o *variadic, in []tensor.Value, c *tensor.Tensor) {
	switch o.name {
	case "Min":
		fold(in, c, false, func(x, y T) T { return min(x, y) })
	case "Max":
		fold(in, c, false, func(x, y T) T { return max(x, y) })
	default:
		fold(in, c, o.mean, func(x, y T) T { return x + y })
	}
}

func fold[T integer | float32 | float64](in []tensor.Value, c *tensor.Tensor, mean bool, f func(x, y T) T) {
	zip(in[0].Tensor, in[0].Tensor, c, func(x, _ T) T { return x })
	for _, v := range in[1:] {
		zip(c, v.Tensor, c, f)
	}
	if mean {
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
		case o.mean:
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
		clipTo(in, out, lo, hi)
	case tensor.Float64:
		lo, hi := clipBounds(o, in, math.Inf(-1), math.Inf(1))
		clipTo(in, out, lo, hi)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		lo, hi := clipBounds[int64](o, in, math.MinInt64, math.MaxInt64)
		clipTo(in, out, lo, hi)
	case tensor.Int32:
		lo, hi := clipBounds[int32](o, in, math.MinInt32, math.MaxInt32)
		clipTo(in, out, lo, hi)
	case tensor.Int16:
		lo, hi := clipBounds[int16](o, in, math.MinInt16, math.MaxInt16)
		clipTo(in, out, lo, hi)
	case tensor.Int8:
		lo, hi := clipBounds[int8](o, in, math.MinInt8, math.MaxInt8)
		clipTo(in, out, lo, hi)
	case tensor.Uint64:
		lo, hi := clipBounds[uint64](o, in, 0, math.MaxUint64)
		clipTo(in, out, lo, hi)
	case tensor.Uint32:
		lo, hi := clipBounds[uint32](o, in, 0, math.MaxUint32)
		clipTo(in, out, lo, hi)
	case tensor.Uint16:
		lo, hi := clipBounds[uint16](o, in, 0, math.MaxUint16)
		clipTo(in, out, lo, hi)
	case tensor.Uint8:
		lo, hi := clipBounds[uint8](o, in, 0, math.MaxUint8)
		clipTo(in, out, lo, hi)
	default:
		return unsupportedType("Clip", d)
	}
	return nil
}

func clipBounds[T integer | float32 | float64](o *clip, in []tensor.Value, lo, hi T) (T, T) {
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
func clipTo[T integer | float32 | float64](in, out []tensor.Value, lo, hi T) {
	src, dst := tensor.Data[T](in[0].Tensor), tensor.Data[T](out[0].Tensor)
	for i, v := range src {
		if v < lo {
			v = lo
		}
		if v > hi {
			v = hi
		}
		dst[i] = v
	}
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

// pow raises the first input to the power of the second, whose element type
// may differ.
type pow struct{}

func parsePow(*attrs) Op { return pow{} }

func (pow) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	shape, ranked, err := broadcastShapes(in[0].Type, in[1].Type)
	if err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: graph.Type{Kind: tensor.KindTensor, DType: in[0].DType, Shape: shape, Ranked: ranked}}}, nil
}

func (pow) Forward(_ *Ctx, in, out []tensor.Value) error {
	c := out[0].Tensor
	wide := [2]*tensor.Tensor{}
	for i := range wide {
		t := in[i].Tensor
		v, err := tensor.Float64s(t)
		if err != nil {
			return unsupportedType("Pow", t.DType())
		}
		wide[i] = tensor.Of(v, t.Shape()...)
	}
	r := tensor.New(tensor.Float64, c.Shape()...)
	zip(wide[0], wide[1], r, math.Pow)
	return storeFloats(tensor.Data[float64](r), c)
}

// Backward is dx += p·x^(p−1)·dy and dp += ln x·x^p·dy, in float64. A power of
// 0 does not vary with p.
func (pow) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	xs, ps, shape := in[0].Tensor.Shape(), in[1].Tensor.Shape(), out[0].Tensor.Shape()
	x, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return unsupportedType("Pow", in[0].Tensor.DType())
	}
	p, err := tensor.Float64s(in[1].Tensor)
	if err != nil {
		return unsupportedType("Pow", in[1].Tensor.DType())
	}
	dy, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return unsupportedType("Pow", dout[0].Tensor.DType())
	}
	if present(din, 0) {
		dx := make([]float64, len(x))
		zipBack(dx, x, xs, p, ps, dy, shape, func(x, p, g float64) float64 {
			if p == 0 {
				return 0
			}
			return p * math.Pow(x, p-1) * g
		})
		if err := addWide("Pow", din[0], dx); err != nil {
			return err
		}
	}
	if present(din, 1) {
		dp := make([]float64, len(p))
		zipBack(dp, p, ps, x, xs, dy, shape, func(p, x, g float64) float64 {
			if x == 0 {
				return 0
			}
			return math.Log(x) * math.Pow(x, p) * g
		})
		return addWide("Pow", din[1], dp)
	}
	return nil
}

// mod is the remainder: with fmod 1 as C's fmod has it (the sign of the
// first input), otherwise as Python's % (the sign of the second).
type mod struct{ fmod bool }

func parseMod(a *attrs) Op { return &mod{a.bool("fmod", false)} }

func (o *mod) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err == nil && !o.fmod && out.DType.IsFloat() {
		err = fmt.Errorf("floating-point inputs want the attribute fmod = 1")
	}
	return []graph.Fact{out}, err
}

func (o *mod) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch c.DType() {
	case tensor.Float32:
		zip(a, b, c, func(x, y float32) float32 { return float32(math.Mod(float64(x), float64(y))) })
	case tensor.Float64:
		zip(a, b, c, math.Mod)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		return modInt[int64](o, a, b, c)
	case tensor.Int32:
		return modInt[int32](o, a, b, c)
	case tensor.Int16:
		return modInt[int16](o, a, b, c)
	case tensor.Int8:
		return modInt[int8](o, a, b, c)
	case tensor.Uint64:
		return modInt[uint64](o, a, b, c)
	case tensor.Uint32:
		return modInt[uint32](o, a, b, c)
	case tensor.Uint16:
		return modInt[uint16](o, a, b, c)
	case tensor.Uint8:
		return modInt[uint8](o, a, b, c)
	default:
		return unsupportedType("Mod", c.DType())
	}
	return nil
}

func modInt[T integer](o *mod, a, b, c *tensor.Tensor) error {
	for _, y := range tensor.Data[T](b) {
		if y == 0 && a.Len() > 0 {
			return errDivByZero
		}
	}
	zip(a, b, c, func(x, y T) T {
		r := x % y
		if !o.fmod && r != 0 && (r < 0) != (y < 0) {
			r += y
		}
		return r
	})
	return nil
}
