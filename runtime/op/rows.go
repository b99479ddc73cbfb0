package op

import "bilinc/runtime/kernel"

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

// rows is the loops over float32 of operators that have one in package kernel.
var rows = map[string]func(y, x []float32){
	"Exp":        kernelRow(kernel.Exp, 0, 0),
	"Sigmoid":    kernelRow(kernel.Sigmoid, 0, 0),
	"Tanh":       kernelRow(kernel.Tanh, 0, 0),
	"Erf":        kernelRow(kernel.Erf, 0, 0),
	"Relu":       kernelRow(kernel.Relu, 0, 0),
	"HardSwish":  kernelRow(kernel.HardSwish, 0, 0),
	"Sqrt":       kernelRow(kernel.Sqrt, 0, 0),
	"Reciprocal": kernelRow(kernel.Reciprocal, 0, 0),
	"Neg":        kernelRow(kernel.Neg, 0, 0),
	"Abs":        kernelRow(kernel.Abs, 0, 0),
	"Sign":       kernelRow(kernel.Sign, 0, 0),
	"Floor":      kernelRow(kernel.Floor, 0, 0),
	"Ceil":       kernelRow(kernel.Ceil, 0, 0),
	"Round":      kernelRow(kernel.Round, 0, 0),
	"Log":        kernelRow(kernel.Log, 0, 0),
	"Softplus":   kernelRow(kernel.Softplus, 0, 0),
	"Softsign":   kernelRow(kernel.Softsign, 0, 0),
	"Mish":       kernelRow(kernel.Mish, 0, 0),
}

// kernelRow is a function of package kernel on a run of elements.
func kernelRow(f kernel.Function, alpha, beta float64) func(y, x []float32) {
	return func(y, x []float32) { kernel.Unary32(nil, f, y, x, float32(alpha), float32(beta)) }
}
