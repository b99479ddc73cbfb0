package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// functionTolerance bounds what a function adds to the error of a product, relative to its result or
// 1, whichever is larger.
const functionTolerance = 8 * 0x1p-24

// plain is what f is, in float64.
func plain(f Function, x, alpha, beta float64) float64 {
	switch f {
	case Relu:
		return max(x, 0)
	case LeakyRelu:
		if x < 0 {
			return alpha * x
		}
	case Clip:
		return min(max(x, alpha), beta)
	case HardSigmoid:
		return min(max(alpha*x+beta, 0), 1)
	case HardSwish:
		return x * min(max(x/6+0.5, 0), 1)
	case Exp:
		return math.Exp(x)
	case Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case Silu:
		return x / (1 + math.Exp(-x))
	case Tanh:
		return math.Tanh(x)
	case Erf:
		return math.Erf(x)
	case Gelu:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case GeluTanh:
		return x / (1 + math.Exp(-2*math.Sqrt2/math.SqrtPi*(x+0.044715*x*x*x)))
	case Abs:
		return math.Abs(x)
	case Neg:
		return -x
	case Sign:
		if x != 0 && x == x {
			return math.Copysign(1, x)
		}
	case Floor:
		return math.Floor(x)
	case Ceil:
		return math.Ceil(x)
	case Round:
		return math.RoundToEven(x)
	case Sqrt:
		return math.Sqrt(x)
	case Reciprocal:
		return 1 / x
	case Softsign:
		return x / (1 + math.Abs(x))
	case Threshold:
		if !(x > alpha) {
			return 0
		}
	case Elu:
		if x < 0 {
			return alpha * math.Expm1(beta*x)
		}
	case Log:
		return math.Log(x)
	case Log1p:
		return math.Log1p(x)
	case Softplus:
		return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	case Mish:
		return x * math.Tanh(max(x, 0)+math.Log1p(math.Exp(-math.Abs(x))))
	}
	return x
}

// slope bounds how much f may enlarge a difference in its argument, near results of size y.
func slope(f Function, y, alpha float64) float64 {
	if f == Exp {
		return 1.01 * math.Abs(y)
	}
	return max(1.2, math.Abs(alpha))
}

// steep are functions that jump, or that are steep or NaN somewhere. They rise or fall all along.
var steep = map[Function]bool{Sign: true, Floor: true, Ceil: true, Round: true, Threshold: true, Sqrt: true, Reciprocal: true, Log: true, Log1p: true}

// ending is a kind of epilogue that a test tries.
type ending struct {
	bias, add, inPlace bool
	f                  Function
}

func endings() (all []ending) {
	for f := range functions {
		all = append(all, ending{bias: f%2 == 0, add: f%3 == 0, f: f})
	}
	for i := range 8 {
		e := ending{bias: i&1 != 0, add: i&2 != 0, f: Relu}
		e.inPlace = e.add && i&4 != 0
		all = append(all, e)
	}
	return all
}

// make returns an epilogue for a result of m rows of n elements that goes to c, and what it adds to
// element (i, j). The sums must be of about size 1.
func (e ending) make(r *rand.Rand, m, n int, c []float32, ldc int) (Epilogue32, func(i, j int) float64) {
	out := Epilogue32{F: e.f, Alpha: 0.25, Beta: 0.75}
	if e.bias {
		out.Bias = random[float32](r, n)
	}
	var add []float32
	switch {
	case e.inPlace:
		for i := range m {
			copy(c[i*ldc:i*ldc+n], random[float32](r, n))
		}
		out.Add, out.AddStride = c, ldc
		add = append(add, c...)
	case e.add:
		out.AddStride = n + 2
		add = random[float32](r, m*(n+2))
		out.Add = add
	}
	return out, func(i, j int) float64 {
		v := 0.0
		if e.bias {
			v += float64(out.Bias[j])
		}
		if add != nil {
			v += float64(add[i*out.AddStride+j])
		}
		return v
	}
}

// checkEnd fails unless got is f(sum), the sum having an error of at most bound.
func (e *Epilogue32) checkEnd(got float32, sum, bound float64) error {
	want := plain(e.F, sum, float64(e.Alpha), float64(e.Beta))
	if e.F == Reciprocal && math.Abs(sum) <= bound || e.F == Log1p && sum < bound {
		return nil // either sign, or below 0
	}
	if steep[e.F] {
		a, b := plain(e.F, sum-bound, float64(e.Alpha), float64(e.Beta)), plain(e.F, sum+bound, float64(e.Alpha), float64(e.Beta))
		tolerance := functionTolerance * max(1, math.Abs(a), math.Abs(b))
		switch {
		case a != a && b != b && got == got, !(a != a || b != b) && !(float64(got) >= min(a, b)-tolerance && float64(got) <= max(a, b)+tolerance):
			return fmt.Errorf("%v of %v is %v, want %v to %v", e.F, sum, got, a, b)
		}
		return nil
	}
	limit := bound*slope(e.F, want, float64(e.Alpha)) + functionTolerance*max(1, math.Abs(want))
	if !(math.Abs(float64(got)-want) <= limit) {
		return fmt.Errorf("%v of %v is %v, want %v ± %g", e.F, sum, got, want, limit)
	}
	return nil
}

func TestEpilogue(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for _, s := range [][3]int{{1, 1, 0}, {1, 140, 40}, {3, 5, 7}, {9, 33, blockK + 5}, {40, 70, 20}, {130, 40, 2*blockK + 1}, {50, superN + 3, superK + 2}} {
			m, n, k := s[0], s[1], s[2]
			if testing.Short() && m*n*k > 1<<20 {
				continue
			}
			for _, e := range endings() {
				for _, packed := range []bool{false, true} {
					la, lb := layouts[r.IntN(len(layouts))], layouts[r.IntN(len(layouts))]
					checkEpilogue(t, r, m, n, k, la, lb, e, packed)
				}
			}
		}
	})
}

func checkEpilogue(t *testing.T, r *rand.Rand, m, n, k int, la, lb layout, e ending, packed bool) {
	t.Helper()
	ars, acs, na := la.place(m, k)
	brs, bcs, nb := lb.place(k, n)
	a, b := random[float32](r, na), random[float32](r, nb)
	for i := range a {
		a[i] /= float32(math.Sqrt(float64(k)))
	}
	ldc := n + 3
	c := make([]float32, m*ldc)
	end, added := e.make(r, m, n, c, ldc)
	for i := range m {
		for j := n; j < ldc; j++ {
			c[i*ldc+j] = mark
		}
	}
	if packed {
		GemmFused32(nil, m, a, ars, acs, Pack32(k, n, b, brs, bcs), c, ldc, end)
	} else {
		GemmEpilogue32(nil, m, n, k, a, ars, acs, b, brs, bcs, c, ldc, end)
	}
	for i := range m {
		for j := range ldc {
			if j >= n {
				if c[i*ldc+j] != mark {
					t.Fatalf("m=%d n=%d k=%d %+v: wrote outside of C at (%d, %d)", m, n, k, e, i, j)
				}
				continue
			}
			sum := added(i, j)
			scale := math.Abs(sum)
			for l := range k {
				x := float64(a[i*ars+l*acs]) * float64(b[l*brs+j*bcs])
				sum += x
				scale += math.Abs(x)
			}
			if err := end.checkEnd(c[i*ldc+j], sum, gemmTolerance*0x1p-23*float64(k+3)*scale); err != nil {
				t.Fatalf("m=%d n=%d k=%d %+v packed=%v: C[%d %d]: %v", m, n, k, e, packed, i, j, err)
			}
		}
	}
}

func TestEpilogueShortSlice(t *testing.T) {
	s := func(n int) []float32 { return make([]float32, n) }
	b := Pack32(3, 5, s(15), 5, 1)
	for want, e := range map[string]Epilogue32{
		"kernel: a bias of 4 elements for 5 columns": {Bias: s(4)},
		"kernel: Add[2 5]":                           {Add: s(9), AddStride: 5},
	} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, want) {
					t.Errorf("panicked with %q, want %s…", v, want)
				}
			}()
			GemmFused32(nil, 2, s(6), 3, 1, b, s(10), 5, e)
		}()
	}
}
