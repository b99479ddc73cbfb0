package op

import (
	"math"

	"bilinc/runtime/kernel"
)

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

// rows is the loops over float32 of operators that have one: those of package
// kernel, and of those that hardly compute, for which a call for each element
// would cost more than they do.
var rows = map[string]func(y, x []float32){
	"Exp":       kernelRow(kernel.Exp, 0, 0),
	"Sigmoid":   kernelRow(kernel.Sigmoid, 0, 0),
	"Tanh":      kernelRow(kernel.Tanh, 0, 0),
	"Erf":       kernelRow(kernel.Erf, 0, 0),
	"Relu":      kernelRow(kernel.Relu, 0, 0),
	"HardSwish": kernelRow(kernel.HardSwish, 0, 0),
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
}

// kernelRow is a function of package kernel on a run of elements.
func kernelRow(f kernel.Function, alpha, beta float64) func(y, x []float32) {
	return func(y, x []float32) { kernel.Unary32(nil, f, y, x, float32(alpha), float32(beta)) }
}
