package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// A derivative is f'(x) where y = f(x); nil where f has none. At a kink it is
// one of the two sides', as PyTorch has it.
type derivative func(x, y float64) float64

// derivativeOf is that of a unary operator without attributes; nil where it has none. A
// step is flat almost everywhere: its derivative is 0.
func derivativeOf(name string) derivative {
	switch name {
	case "Sqrt":
		return func(_, y float64) float64 { return 0.5 / y }
	case "Exp":
		return func(_, y float64) float64 { return y }
	case "Log":
		return func(x, _ float64) float64 { return 1 / x }
	case "Erf":
		return func(x, _ float64) float64 { return 2 / math.SqrtPi * math.Exp(-x*x) }
	case "Sin":
		return func(x, _ float64) float64 { return math.Cos(x) }
	case "Cos":
		return func(x, _ float64) float64 { return -math.Sin(x) }
	case "Tan":
		return func(_, y float64) float64 { return 1 + y*y }
	case "Asin":
		return func(x, _ float64) float64 { return 1 / math.Sqrt(1-x*x) }
	case "Acos":
		return func(x, _ float64) float64 { return -1 / math.Sqrt(1-x*x) }
	case "Atan":
		return func(x, _ float64) float64 { return 1 / (1 + x*x) }
	case "Sinh":
		return func(x, _ float64) float64 { return math.Cosh(x) }
	case "Cosh":
		return func(x, _ float64) float64 { return math.Sinh(x) }
	case "Tanh":
		return func(_, y float64) float64 { return 1 - y*y }
	case "Asinh":
		return func(x, _ float64) float64 { return 1 / math.Hypot(x, 1) }
	case "Acosh":
		return func(x, _ float64) float64 { return 1 / math.Sqrt(x*x-1) }
	case "Atanh":
		return func(x, _ float64) float64 { return 1 / (1 - x*x) }
	case "Ceil", "Floor", "Round", "Sign":
		return flat
	case "Reciprocal":
		return func(_, y float64) float64 { return -y * y }
	case "Sigmoid":
		return func(_, y float64) float64 { return y * (1 - y) }
	case "Softplus":
		return func(x, _ float64) float64 { return sigmoid(x) }
	case "Softsign":
		return func(x, _ float64) float64 {
			d := 1 + math.Abs(x)
			return 1 / (d * d)
		}
	case "Mish":
		return func(x, _ float64) float64 {
			t := math.Tanh(softplus(x))
			return t + x*(1-t*t)*sigmoid(x)
		}
	case "HardSwish":
		return func(x, _ float64) float64 { return stepped(x < 3, stepped(x > -3, x/3+0.5, 0), 1) }
	case "Abs":
		return func(x, _ float64) float64 { return sign(x) }
	case "Neg":
		return func(_, _ float64) float64 { return -1 }
	}
	return nil
}

func flat(_, _ float64) float64 { return 0 }

// stepped is a where c holds, else b.
func stepped(c bool, a, b float64) float64 {
	if c {
		return a
	}
	return b
}

func (o *unary) hasGradient() bool { return o.df != nil }

// Backward adds.
func (o *unary) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

// elementGrain is the number of elements that are worth a task of their own
// where each takes a call.
const elementGrain = 1 << 14

func unaryBack[T float](ctx *Ctx, df derivative, in, out, dout, din []tensor.Value, into bool) {
	x, y := tensor.Data[T](in[0].Tensor), tensor.Data[T](out[0].Tensor)
	dy, dx := gradient[T](dout, 0), gradient[T](din, 0)
	ctx.Pool.For(len(dx), elementGrain, func(lo, hi int) {
		if into {
			clear(dx[lo:hi])
		}
		for i := lo; i < hi; i++ {
			dx[i] += T(df(float64(x[i]), float64(y[i])) * float64(dy[i]))
		}
	})
}
