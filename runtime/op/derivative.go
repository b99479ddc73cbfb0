package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// A derivative is f'(x) where y = f(x); nil where f has none. At a kink it is
// one of the two sides', as PyTorch has it.
type derivative func(x, y float64) float64

// derivatives is those of the unary operators without attributes. A step is
// flat almost everywhere: its derivative is 0.
var derivatives = map[string]derivative{
	"Sqrt":       func(_, y float64) float64 { return 0.5 / y },
	"Exp":        func(_, y float64) float64 { return y },
	"Log":        func(x, _ float64) float64 { return 1 / x },
	"Erf":        func(x, _ float64) float64 { return 2 / math.SqrtPi * math.Exp(-x*x) },
	"Sin":        func(x, _ float64) float64 { return math.Cos(x) },
	"Cos":        func(x, _ float64) float64 { return -math.Sin(x) },
	"Tan":        func(_, y float64) float64 { return 1 + y*y },
	"Asin":       func(x, _ float64) float64 { return 1 / math.Sqrt(1-x*x) },
	"Acos":       func(x, _ float64) float64 { return -1 / math.Sqrt(1-x*x) },
	"Atan":       func(x, _ float64) float64 { return 1 / (1 + x*x) },
	"Sinh":       func(x, _ float64) float64 { return math.Cosh(x) },
	"Cosh":       func(x, _ float64) float64 { return math.Sinh(x) },
	"Tanh":       func(_, y float64) float64 { return 1 - y*y },
	"Asinh":      func(x, _ float64) float64 { return 1 / math.Hypot(x, 1) },
	"Acosh":      func(x, _ float64) float64 { return 1 / math.Sqrt(x*x-1) },
	"Atanh":      func(x, _ float64) float64 { return 1 / (1 - x*x) },
	"Ceil":       flat,
	"Floor":      flat,
	"Round":      flat,
	"Sign":       flat,
	"Reciprocal": func(_, y float64) float64 { return -y * y },
	"Sigmoid":    func(_, y float64) float64 { return y * (1 - y) },
	"Softplus":   func(x, _ float64) float64 { return sigmoid(x) },
	"Softsign": func(x, _ float64) float64 {
		d := 1 + math.Abs(x)
		return 1 / (d * d)
	},
	"Mish": func(x, _ float64) float64 {
		t := math.Tanh(softplus(x))
		return t + x*(1-t*t)*sigmoid(x)
	},
	"HardSwish": func(x, _ float64) float64 { return stepped(x < 3, stepped(x > -3, x/3+0.5, 0), 1) },
	"Abs":       func(x, _ float64) float64 { return sign(x) },
	"Neg":       func(_, _ float64) float64 { return -1 },
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
