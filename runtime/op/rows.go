package op

import "math"

// each32 is y = f(x), element by element. It widens a block at a time: the
// conversion of one element into the register that the last result came in
// would make it wait for that result.
func each32(y, x []float32, f func(float64) float64) {
	var wide [128]float64
	for len(x) > 0 {
		n := min(len(x), len(wide))
		block, to := wide[:n], y[:n]
		for i, v := range x[:n] {
			block[i] = float64(v)
		}
		for i, v := range block {
			to[i] = float32(f(v))
		}
		x, y = x[n:], y[n:]
	}
}

// quick is the functions that serve float32 instead of those of math.
var quick = map[string]func(float64) float64{
	"Exp":     expFast,
	"Sigmoid": sigmoidFast,
	"Tanh":    tanhFast,
	"Erf":     erfFast,
}

// rows is the loops over float32 of operators that hardly compute: a call for
// each element would cost more than they do.
var rows = map[string]func(y, x []float32){
	"Sqrt": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(math.Sqrt(float64(v)))
		}
	},
	"Reciprocal": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = 1 / v
		}
	},
	"Neg": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = -v
		}
	},
	"Abs": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(math.Abs(float64(v)))
		}
	},
	"HardSwish": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = v * max(0, min(1, v/6+0.5))
		}
	},
}

func hardSigmoidRow(y, x []float32, alpha, beta float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = max(0, min(1, alpha*v+beta))
	}
}

func leakyRow(y, x []float32, alpha float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = v * [2]float32{1, alpha}[math.Float32bits(v)>>31] // by the sign, without a branch
	}
}

func geluFast(x float64) float64 { return 0.5 * x * (1 + erfFast(x*(1/math.Sqrt2))) }

func geluTanhFast(x float64) float64 {
	return 0.5 * x * (1 + tanhFast(math.Sqrt2/math.SqrtPi*(x+0.044715*x*x*x)))
}
