package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

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

func (pow) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	if a.DType() == tensor.Float16 || a.DType() == tensor.BFloat16 {
		return viaFloat32(ctx, pow{}, in, out)
	}
	if p, err := tensor.Float64s(b); err == nil && len(p) == 1 {
		switch a.DType() {
		case tensor.Float32:
			power32(ctx, tensor.Data[float32](c), tensor.Data[float32](a), p[0])
			return nil
		case tensor.Float64:
			apply(a, c, powerOf(p[0]))
			return nil
		}
	}
	if x, err := tensor.Int64s(a); err == nil {
		if p, err := tensor.Int64s(b); err == nil {
			y := make([]int64, c.Len())
			zip(tensor.Of(x, a.Shape()...), tensor.Of(p, b.Shape()...), tensor.Of(y, c.Shape()...), integerPower)
			return storeInts(y, c)
		}
	}
	wide := [2]*tensor.Tensor{}
	for i := range wide {
		t := in[i].Tensor
		v, err := tensor.Float64s(t)
		if err != nil || t.DType() == tensor.Bool {
			return unsupportedType("Pow", t.DType())
		}
		wide[i] = tensor.Of(v, t.Shape()...)
	}
	r := tensor.New(tensor.Float64, c.Shape()...)
	zip(wide[0], wide[1], r, math.Pow)
	return storeFloats(tensor.Data[float64](r), c)
}

// powerOf is x to a power that is the same for all elements.
func powerOf(p float64) func(x float64) float64 {
	switch p {
	case 1:
		return func(x float64) float64 { return x }
	case 2:
		return func(x float64) float64 { return x * x }
	case 3:
		return func(x float64) float64 { return x * x * x }
	}
	return func(x float64) float64 { return math.Pow(x, p) }
}

func power32(ctx *Ctx, y, x []float32, p float64) {
	f := powerOf(p)
	ctx.Pool.For(len(x), elementGrain, func(lo, hi int) {
		if p == 2 {
			kernel.Zip32(nil, kernel.Times, 1, hi-lo, y[lo:hi], 0, x[lo:hi], 0, 1, x[lo:hi], 0, 1)
			return
		}
		each32(y[lo:hi], x[lo:hi], f)
	})
}

// integerPower is exact but for what passes 64 bits; a negative power of an
// integer is its reciprocal's, cut off to 0 unless that is ±1.
func integerPower(x, p int64) int64 {
	if p < 0 {
		switch {
		case x == 1 || x == -1 && p%2 == 0:
			return 1
		case x == -1:
			return -1
		}
		return 0
	}
	y := int64(1)
	for ; p > 0; p >>= 1 {
		if p&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
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
		return modInt[int64](ctx.Pool, o, a, b, c)
	case tensor.Int32:
		return modInt[int32](ctx.Pool, o, a, b, c)
	case tensor.Int16:
		return modInt[int16](ctx.Pool, o, a, b, c)
	case tensor.Int8:
		return modInt[int8](ctx.Pool, o, a, b, c)
	case tensor.Uint64:
		return modInt[uint64](ctx.Pool, o, a, b, c)
	case tensor.Uint32:
		return modInt[uint32](ctx.Pool, o, a, b, c)
	case tensor.Uint16:
		return modInt[uint16](ctx.Pool, o, a, b, c)
	case tensor.Uint8:
		return modInt[uint8](ctx.Pool, o, a, b, c)
	default:
		return unsupportedType("Mod", c.DType())
	}
	return nil
}

func modInt[T integer](p *kernel.Pool, o *mod, a, b, c *tensor.Tensor) error {
	for _, y := range tensor.Data[T](b) {
		if y == 0 && a.Len() > 0 {
			return errDivByZero
		}
	}
	fmod := o.fmod
	zipRows(p, a, b, c, func(z, x, y []T) {
		x, y = x[:len(z)], y[:len(z)]
		for i, v := range x {
			r := v % y[i]
			if !fmod && r != 0 && (r < 0) != (y[i] < 0) {
				r += y[i]
			}
			z[i] = r
		}
	})
	return nil
}
