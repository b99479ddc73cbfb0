package kernel

import (
	"fmt"
	"math"
	"sync"
)

// Function is a function of one float32, applied element by element by [Unary32] and at the end of
// products by [Epilogue32].
type Function uint8

// The functions, α and β being their parameters; all pass NaN on. Their errors with vectors, in units
// in the last place: none of Relu and Clip, ½ of LeakyRelu, 1 of Exp, 2.5 of Sigmoid, 3 of Silu, 1.6 of
// Tanh, 1.3 of Erf, 7 of Gelu (below x = -6, where results are under 1e-8, they are within 2e-10), 14 of
// GeluTanh's results above 0.002 (below, as much of that number), those of HardSigmoid and HardSwish one
// unit of 1 and 3. Results are the same with AVX2, AVX-512 and NEON.
const (
	Identity    Function = iota
	Relu                 // max(x, 0)
	LeakyRelu            // x where x ≥ 0, else α·x
	Clip                 // min(max(x, α), β)
	HardSigmoid          // min(max(α·x+β, 0), 1)
	HardSwish            // x·min(max(x/6+½, 0), 1)
	Exp                  // eˣ
	Sigmoid              // 1/(1+e⁻ˣ)
	Silu                 // x/(1+e⁻ˣ), also called swish
	Tanh
	Erf
	Gelu     // x·½(1+erf(x/√2))
	GeluTanh // x·½(1+tanh(√(2/π)(x+0.044715x³)))
	Abs
	Neg
	Sign // ±1, but ±0 and NaN as they are
	Floor
	Ceil
	Round      // half to even
	Sqrt       // NaN below 0
	Reciprocal // 1/x
	Softsign   // x/(1+|x|)
	Threshold  // x where x > α, else 0
	Elu        // x where x ≥ 0, else α(eᵝˣ−1), for β ≥ 0
	Log        // NaN below 0
	Log1p      // ln(1+x), for x ≥ 0
	Softplus   // ln(1+eˣ)
	Mish       // x·tanh(ln(1+eˣ))
	functions
)

var functionNames = [functions]string{"Identity", "Relu", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish", "Exp", "Sigmoid", "Silu", "Tanh", "Erf", "Gelu", "GeluTanh",
	"Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Softsign", "Threshold", "Elu", "Log", "Log1p", "Softplus", "Mish"}

func (f Function) String() string {
	if f >= functions {
		return fmt.Sprintf("Function(%d)", uint8(f))
	}
	return functionNames[f]
}

// unary computes y[i·ys+j] = f(x[i·xs+j]), i < m, j < n. y may be x. m and n are at least 1.
type unary[T float] func(m, n int, y []T, ys int, x []T, xs int, alpha, beta T)

// unaryGrain is the number of elements of a task of Unary32: about 10 µs of the slower functions.
const unaryGrain = 1 << 14

// Unary32 computes y[i] = f(x[i]) for all elements of x. y may be x, or must not overlap it.
func Unary32(p *Pool, f Function, y, x []float32, alpha, beta float32) {
	y = y[:len(x)]
	switch {
	case f == Identity:
		copy(y, x)
		return
	case len(x) == 0:
		return
	case p.Threads() == 1 || len(x) <= 6*unaryGrain:
		g := active.Load().unary[f]
		for ; len(x) > unaryGrain; x, y = x[unaryGrain:], y[unaryGrain:] {
			g(1, unaryGrain, y, 0, x, 0, alpha, beta)
		}
		g(1, len(x), y, 0, x, 0, alpha, beta)
		return
	}
	j, _ := unaryJobs.Get().(*unaryJob)
	if j == nil {
		j = &unaryJob{}
		j.runFn = j.run
	}
	j.f, j.y, j.x, j.alpha, j.beta = active.Load().unary[f], y, x, alpha, beta
	p.For(len(x), unaryGrain, j.runFn)
	j.y, j.x = nil, nil
	unaryJobs.Put(j)
}

// unaryJob is one Unary32 in progress, kept for the next one.
type unaryJob struct {
	f           unary[float32]
	y, x        []float32
	alpha, beta float32
	runFn       func(lo, hi int)
}

var unaryJobs sync.Pool

func (j *unaryJob) run(lo, hi int) { j.f(1, hi-lo, j.y[lo:], 0, j.x[lo:], 0, j.alpha, j.beta) }

// unaryGeneric is the portable functions.
var unaryGeneric = [functions]unary[float32]{
	Relu: each(func(x, _, _ float32) float32 { return max(x, 0) }),
	LeakyRelu: each(func(x, alpha, _ float32) float32 {
		if x < 0 {
			return alpha * x
		}
		return x
	}),
	Clip:        each(func(x, low, high float32) float32 { return min(max(x, low), high) }),
	HardSigmoid: each(func(x, alpha, beta float32) float32 { return min(max(alpha*x+beta, 0), 1) }),
	HardSwish:   each(func(x, _, _ float32) float32 { return x * min(max(x*(1./6)+0.5, 0), 1) }),
	Exp:         wide(Exp64),
	Sigmoid:     wide(sigmoidFast),
	Silu:        wide(siluFast),
	Tanh:        wide(tanhFast),
	Erf:         wide(erfFast),
	Gelu:        wide(geluFast),
	GeluTanh:    wide(geluTanhFast),
	Abs:         each(func(x, _, _ float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }),
	Neg:         each(func(x, _, _ float32) float32 { return -x }),
	Sign: each(func(x, _, _ float32) float32 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x
	}),
	Floor:      wide(math.Floor),
	Ceil:       wide(math.Ceil),
	Round:      wide(math.RoundToEven),
	Sqrt:       wide(math.Sqrt),
	Reciprocal: each(func(x, _, _ float32) float32 { return 1 / x }),
	Softsign:   each(func(x, _, _ float32) float32 { return x / (1 + float32(math.Abs(float64(x)))) }),
	Threshold: each(func(x, alpha, _ float32) float32 {
		if x > alpha {
			return x
		}
		return 0
	}),
	Elu: each(func(x, alpha, beta float32) float32 {
		if x < 0 {
			return float32(float64(alpha) * math.Expm1(float64(x)*float64(beta)))
		}
		return x
	}),
	Log:      wide(math.Log),
	Log1p:    wide(math.Log1p),
	Softplus: wide(func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }),
	Mish: wide(func(x float64) float64 {
		if x < -300 { // where Exp64 ends
			return x * 0
		}
		e := Exp64(min(x, 20)) // tanh(ln(1+e)) = n/(n+2), n = e(e+2), which is 1 from 20 on
		n := e * (e + 2)
		return x * n / (n + 2)
	}),
}

func each(f func(x, alpha, beta float32) float32) unary[float32] {
	return func(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32) {
		for i := range m {
			to := y[i*ys : i*ys+n]
			for j, v := range x[i*xs : i*xs+n] {
				to[j] = f(v, alpha, beta)
			}
		}
	}
}

// wide widens a block at a time: the conversion of one element into the register that the last
// result came in would make it wait for that result.
func wide(f func(float64) float64) unary[float32] {
	return func(m, n int, y []float32, ys int, x []float32, xs int, _, _ float32) {
		var block [128]float64
		for i := range m {
			to, from := y[i*ys:i*ys+n], x[i*xs:i*xs+n]
			for len(from) > 0 {
				n := min(len(from), len(block))
				for j, v := range from[:n] {
					block[j] = float64(v)
				}
				for j, v := range block[:n] {
					to[j] = float32(f(v))
				}
				from, to = from[n:], to[n:]
			}
		}
	}
}
