package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// unary is an element-wise operator of one floating-point input whose output
// has its type and shape: the functions of mathematics and the activations.
// Each element is computed in float64 and rounded once.
type unary struct {
	name string
	f    func(float64) float64
	df   derivative
	row  func(y, x []float32) // for float32, where time counts; may be missing

	slope slope // df for float32, where time counts; may be missing
}

// parseUnary serves operators without attributes.
func parseUnary(name string, f func(float64) float64) parser {
	return func(*attrs) Op {
		return &unary{name: name, f: f, df: derivatives[name], row: rows[name], slope: slopes[name]}
	}
}

func (o *unary) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) { return inferSame(o.name, in) }

// inferSame is the rule of operators whose one output is like their one
// floating-point input.
func inferSame(name string, in []graph.Fact) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if d := in[0].DType; d != tensor.Undefined && !d.IsFloat() {
		return nil, unsupportedType(name, d)
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *unary) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Float32:
		src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
		ctx.Pool.For(len(src), elementGrain, func(lo, hi int) {
			switch {
			case o.row != nil:
				o.row(dst[lo:hi], src[lo:hi])
			default:
				each32(dst[lo:hi], src[lo:hi], o.f)
			}
		})
	case tensor.Float64:
		apply(x, y, o.f)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, y.DType())
	}
	return nil
}

func negate(x float64) float64 { return -x }

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // ±0 and NaN
}

func reciprocal(x float64) float64 { return 1 / x }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softplus is log(1+eˣ) without overflow.
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func softsign(x float64) float64 { return x / (1 + math.Abs(x)) }

func mish(x float64) float64 { return x * math.Tanh(softplus(x)) }

// hardSwish is x·HardSigmoid(x) with slope 1/6 and offset ½.
func hardSwish(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) }

// relu lets NaN pass, as max(0, x) does in ONNX Runtime.
func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func parseLeakyRelu(a *attrs) Op {
	alpha := float64(a.float("alpha", 0.01))
	return &unary{name: "LeakyRelu", f: func(x float64) float64 {
		if x < 0 {
			return alpha * x
		}
		return x
	}, df: func(x, _ float64) float64 { return stepped(x > 0, 1, alpha) },
		row: kernelRow(kernel.LeakyRelu, alpha, 0)}
}

func parseElu(a *attrs) Op {
	alpha := float64(a.float("alpha", 1))
	return &unary{name: "Elu", f: func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	}, df: func(x, y float64) float64 { return stepped(x > 0, 1, y+alpha) }, row: kernelRow(kernel.Elu, alpha, 1)}
}

func parseCelu(a *attrs) Op {
	alpha := float64(a.float("alpha", 1))
	var row func(y, x []float32)
	if alpha > 0 {
		row = kernelRow(kernel.Elu, alpha, 1/alpha)
	}
	return &unary{name: "Celu", row: row, f: func(x float64) float64 {
		return math.Max(0, x) + math.Min(0, alpha*math.Expm1(x/alpha))
	}, df: func(x, _ float64) float64 { return stepped(x > 0, 1, math.Exp(x/alpha)) }}
}

func parseSelu(a *attrs) Op {
	alpha, gamma := float64(a.float("alpha", 1.67326319217681884765625)), float64(a.float("gamma", 1.05070102214813232421875))
	return &unary{name: "Selu", f: func(x float64) float64 {
		if x <= 0 {
			return gamma * alpha * math.Expm1(x)
		}
		return gamma * x
	}, df: func(x, y float64) float64 { return stepped(x > 0, gamma, y+gamma*alpha) }, row: seluRow(alpha, gamma)}
}

// seluRow is γ times Elu.
func seluRow(alpha, gamma float64) func(y, x []float32) {
	factor := []float32{float32(gamma)}
	elu := kernelRow(kernel.Elu, alpha, 1)
	return func(y, x []float32) {
		for len(x) > 0 {
			n := min(len(x), 1<<12) // what stays in the nearest cache
			elu(y[:n], x[:n])
			kernel.Zip32(nil, kernel.Times, 1, n, y, n, y, n, 1, factor, 0, 0)
			x, y = x[n:], y[n:]
		}
	}
}

func parseHardSigmoid(a *attrs) Op {
	alpha, beta := float64(a.float("alpha", 0.2)), float64(a.float("beta", 0.5))
	return &unary{name: "HardSigmoid", f: func(x float64) float64 { return math.Max(0, math.Min(1, alpha*x+beta)) },
		df:  func(_, y float64) float64 { return stepped(y > 0 && y < 1, alpha, 0) },
		row: kernelRow(kernel.HardSigmoid, alpha, beta)}
}

func parseThresholdedRelu(a *attrs) Op {
	alpha := float64(a.float("alpha", 1))
	return &unary{name: "ThresholdedRelu", f: func(x float64) float64 {
		if x > alpha {
			return x
		}
		return 0
	}, df: func(x, _ float64) float64 { return stepped(x > alpha, 1, 0) }, row: kernelRow(kernel.Threshold, alpha, 0)}
}

func parseShrink(a *attrs) Op {
	lambd, bias := float64(a.float("lambd", 0.5)), float64(a.float("bias", 0))
	return &unary{name: "Shrink", f: func(x float64) float64 {
		switch {
		case x < -lambd:
			return x + bias
		case x > lambd:
			return x - bias
		}
		return 0
	}, df: func(x, _ float64) float64 { return stepped(x < -lambd || x > lambd, 1, 0) }}
}

func parseGelu(a *attrs) Op {
	switch s := a.string("approximate", "none"); s {
	case "tanh":
		return &unary{name: "Gelu", f: func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, df: func(x, _ float64) float64 {
			t := math.Tanh(math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x))
			return 0.5*(1+t) + 0.5*x*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
		}, row: kernelRow(kernel.GeluTanh, 0, 0), slope: geluTanhSlope}
	case "none":
	default:
		a.fail(fmt.Errorf("attribute approximate is %q, wanted none or tanh", s))
	}
	return &unary{name: "Gelu", f: func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) },
		df: func(x, _ float64) float64 {
			return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		}, row: kernelRow(kernel.Gelu, 0, 0), slope: geluSlope}
}

// numeric is a unary operator that also serves integers: Abs, Neg, Sign.
type numeric struct{ unary }

func parseNumeric(name string, f func(float64) float64) parser {
	return func(*attrs) Op {
		return &numeric{unary{name: name, f: f, df: derivatives[name], row: rows[name]}}
	}
}

func (o *numeric) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *numeric) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Int64:
		numericInts[int64](ctx, o.name, x, y)
	case tensor.Int32:
		numericInts[int32](ctx, o.name, x, y)
	case tensor.Int16:
		numericInts[int16](ctx, o.name, x, y)
	case tensor.Int8:
		numericInts[int8](ctx, o.name, x, y)
	case tensor.Uint64:
		numericInts[uint64](ctx, o.name, x, y)
	case tensor.Uint32:
		numericInts[uint32](ctx, o.name, x, y)
	case tensor.Uint16:
		numericInts[uint16](ctx, o.name, x, y)
	case tensor.Uint8:
		numericInts[uint8](ctx, o.name, x, y)
	default:
		return o.unary.Forward(ctx, in, out)
	}
	return nil
}

// numericInts keeps the low bits of what is out of the type's range.
func numericInts[T integer](ctx *Ctx, name string, x, y *tensor.Tensor) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	ctx.Pool.For(len(src), elementGrain, func(lo, hi int) {
		to := dst[lo:hi]
		switch name {
		case "Neg":
			for i, v := range src[lo:hi] {
				to[i] = -v
			}
		case "Abs":
			for i, v := range src[lo:hi] {
				to[i] = max(v, 0) - min(v, 0)
			}
		default:
			for i, v := range src[lo:hi] {
				to[i] = T(asInt(v > 0) - asInt(v < 0))
			}
		}
	})
}

// asInt is 1 where v is true, without a branch.
func asInt(v bool) int {
	if v {
		return 1
	}
	return 0
}

// relu and its like are float32's hot loops and have no call per element.
type reluOp struct{ unary }

func parseRelu(*attrs) Op { return &reluOp{unary{name: "Relu", f: relu}} }

func (o *reluOp) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *reluOp) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Float32:
		src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
		kernel.Unary32(ctx.Pool, kernel.Relu, dst, src, 0, 0)
	case tensor.Int32:
		apply(x, y, func(v int32) int32 { return max(v, 0) })
	case tensor.Int64:
		apply(x, y, func(v int64) int64 { return max(v, 0) })
	case tensor.Int16:
		apply(x, y, func(v int16) int16 { return max(v, 0) })
	case tensor.Int8:
		apply(x, y, func(v int8) int8 { return max(v, 0) })
	default:
		return o.unary.Forward(ctx, in, out)
	}
	return nil
}

func (o *reluOp) hasGradient() bool { return true }

func (o *reluOp) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

func (o *reluOp) IsInPlace() {}

// BackwardInto is dx (+)= dy where y > 0.
func (o *reluOp) BackwardInto(ctx *Ctx, _, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(din, 0) {
		return nil
	}
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	into := isFresh(din, fresh, 0)
	return byFloat(o.name, out[0].Tensor.DType(),
		func() {
			kernel.ReluBack32(ctx.Pool, gradient[float32](din, 0), gradient[float32](dout, 0), tensor.Data[float32](out[0].Tensor), !into)
		},
		func() {
			y, dy, dx := tensor.Data[float64](out[0].Tensor), gradient[float64](dout, 0), gradient[float64](din, 0)
			for i, g := range dy {
				g = stepped(y[i] > 0, g, 0)
				if !into {
					g += dx[i]
				}
				dx[i] = g
			}
		})
}

// parsePRelu: a slope per element for what is below 0.
func parsePRelu(*attrs) Op { return &prelu{} }

type prelu struct{}

func (o *prelu) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err != nil {
		return nil, err
	}
	if in[0].Ranked { // the slope broadcasts to the input only
		wrong := out.Ranked && len(out.Shape) != len(in[0].Shape)
		for i := 0; i < len(out.Shape) && !wrong; i++ {
			wrong = differ(out.Shape[i], in[0].Shape[i])
		}
		if wrong {
			return nil, fmt.Errorf("slope %v does not broadcast to the input %v", in[1].Type, in[0].Type)
		}
		out.Type = in[0].Type
	}
	return []graph.Fact{out}, nil
}

func (o *prelu) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch c.DType() {
	case tensor.Float32:
		zip32(ctx.Pool, kernel.Slope, a, b, c)
	case tensor.Float64:
		zipShared(ctx.Pool, a, b, c, func(x, s float64) float64 {
			if x < 0 {
				return x * s
			}
			return x
		})
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("PRelu", c.DType())
	}
	return nil
}

func (o *prelu) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	return byFloat("PRelu", out[0].Tensor.DType(),
		func() { preluBack[float32](in, out, dout, din) },
		func() { preluBack[float64](in, out, dout, din) })
}

func preluBack[T float](in, out, dout, din []tensor.Value) {
	a, b, shape := in[0].Tensor, in[1].Tensor, out[0].Tensor.Shape()
	x, s, dy := tensor.Data[T](a), tensor.Data[T](b), gradient[T](dout, 0)
	if dx := gradient[T](din, 0); dx != nil {
		zipBack(dx, x, a.Shape(), s, b.Shape(), dy, shape, func(x, s, g T) T {
			if x > 0 {
				return g
			}
			return s * g
		})
	}
	if ds := gradient[T](din, 1); ds != nil {
		zipBack(ds, s, b.Shape(), x, a.Shape(), dy, shape, func(_, x, g T) T { return min(x, 0) * g })
	}
}
