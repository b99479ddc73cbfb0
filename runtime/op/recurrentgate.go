package op

import (
	"fmt"
	"math"

	"bilinc/runtime/kernel"
)

// A gateFunction is what a recurrent cell does to its gates: the function, its derivative, and where the kernels have
// vectors for it, in float32, which.
type gateFunction struct {
	f           func(float64) float64
	slope       derivative
	vector      kernel.Function // Identity: none
	alpha, beta float32         // its parameters
}

// row32 computes v = f(v).
func (g gateFunction) row32(v []float32) {
	if g.vector != kernel.Identity {
		kernel.Unary32(nil, g.vector, v, v, g.alpha, g.beta)
		return
	}
	gateRow(g.f, v)
}

// row64 is row32 in float64.
func (g gateFunction) row64(v []float64) { gateRow(g.f, v) }

func gateRow[T float](f func(float64) float64, row []T) {
	for i, v := range row {
		row[i] = T(f(float64(v)))
	}
}

// activation is a gate's function by its name. One that has parameters takes them from the front of the lists;
// defaults stand where these are at their end.
func activation(name string, alphas, betas *[]float32) (gateFunction, error) {
	param := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	switch name {
	case "Relu":
		return gateFunction{f: func(x float64) float64 { return max(x, 0) }, slope: func(x, _ float64) float64 { return stepped(x > 0, 1, 0) }, vector: kernel.Relu}, nil
	case "Tanh":
		return gateFunction{f: math.Tanh, slope: derivatives["Tanh"], vector: kernel.Tanh}, nil
	case "Sigmoid":
		return gateFunction{f: sigmoid, slope: derivatives["Sigmoid"], vector: kernel.Sigmoid}, nil
	case "Affine":
		alpha, beta := param(alphas, 1), param(betas, 0)
		return gateFunction{f: func(x float64) float64 { return alpha*x + beta }, slope: func(_, _ float64) float64 { return alpha }}, nil
	case "LeakyRelu":
		alpha := param(alphas, 0.01)
		return gateFunction{f: func(x float64) float64 {
			if x < 0 {
				return alpha * x
			}
			return x
		}, slope: func(x, _ float64) float64 { return stepped(x > 0, 1, alpha) }, vector: kernel.LeakyRelu, alpha: float32(alpha)}, nil
	case "ThresholdedRelu":
		alpha := param(alphas, 1)
		return gateFunction{f: func(x float64) float64 {
			if x > alpha {
				return x
			}
			return 0
		}, slope: func(x, _ float64) float64 { return stepped(x > alpha, 1, 0) }}, nil
	case "ScaledTanh":
		alpha, beta := param(alphas, 1), param(betas, 1)
		return gateFunction{f: func(x float64) float64 { return alpha * math.Tanh(beta*x) }, slope: func(x, _ float64) float64 {
			t := math.Tanh(beta * x)
			return alpha * beta * (1 - t*t)
		}}, nil
	case "HardSigmoid":
		alpha, beta := param(alphas, 0.2), param(betas, 0.5)
		return gateFunction{f: func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) },
			slope:  func(_, y float64) float64 { return stepped(y > 0 && y < 1, alpha, 0) },
			vector: kernel.HardSigmoid, alpha: float32(alpha), beta: float32(beta)}, nil
	case "Elu":
		alpha := param(alphas, 1)
		return gateFunction{f: func(x float64) float64 {
			if x < 0 {
				return alpha * math.Expm1(x)
			}
			return x
		}, slope: func(x, y float64) float64 { return stepped(x > 0, 1, y+alpha) }}, nil
	case "Softsign":
		return gateFunction{f: softsign, slope: derivatives["Softsign"]}, nil
	case "Softplus":
		return gateFunction{f: softplus, slope: derivatives["Softplus"]}, nil
	}
	return gateFunction{}, fmt.Errorf("activation %q is not known", name)
}
