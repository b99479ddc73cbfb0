package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// functionErrors are the stated errors of the vectorised functions for x ≥ lo: so many units in the
// last place of the exact value, or of floor where that is larger. The portable ones round float64
// and stay within them too.
var functionErrors = []struct {
	f         Function
	lo        float64
	ulps      float64
	floor     float64
	wherefore string
}{
	{Relu, everything, 0, 0, ""},
	{LeakyRelu, everything, 0.5, 0, ""},
	{Clip, everything, 0, 0, ""},
	{HardSigmoid, everything, 1, 1, "αx+β cancels"},
	{HardSwish, everything, 1, 3, "x/6+½ cancels at -3"},
	{Exp, everything, 1, 0, ""},
	{Sigmoid, everything, 2.5, 0, ""},
	{Silu, everything, 3, 0x1p-120, "eˣ ends at -104"},
	{Tanh, everything, 1.6, 0, ""},
	{Erf, everything, 1.3, 0, ""},
	{Gelu, -6, 7, 0, "6.7 near -5.96, of all floats below -4.5"},
	{Gelu, everything, 5, 0x1p-12, "the series ends at 6, where results are below 1e-8"},
	{Abs, everything, 0, 0, ""},
	{Neg, everything, 0, 0, ""},
	{Sign, everything, 0, 0, ""},
	{Floor, everything, 0, 0, ""},
	{Ceil, everything, 0, 0, ""},
	{Round, everything, 0, 0, ""},
	{Sqrt, everything, 0, 0, ""},
	{Reciprocal, everything, 0, 0, ""},
	{Softsign, everything, 1.5, 0, ""},
	{Threshold, everything, 0, 0, ""},
	{Elu, everything, 2, 0, ""},
	{Log, everything, 1, 0, ""},
	{Log1p, 0, 1, 0, ""},
	{Softplus, everything, 1.6, 0, ""},
	{Mish, everything, 4.5, 0x1p-120, "eˣ ends at -104"},
	{GeluTanh, everything, 14, 0x1p-9, "the error of the argument of eˣ grows with it"},
}

const everything = -0x1p130

// ulp is the distance from |x| to the next float32.
func ulp(x float64) float64 {
	if x = math.Abs(x); x < 0x1p-126 {
		x = 0x1p-126
	}
	return math.Ldexp(1, math.Ilogb(x)-23)
}

// probes are float32 values: one of every step bit patterns, many where functions bend, and specials.
func probes(step uint64) (x []float32) {
	for b := uint64(0); b < 1<<32; b += step {
		x = append(x, math.Float32frombits(uint32(b)))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 1 << 32 / 8 / step {
		x = append(x, float32(r.NormFloat64()*4), float32(r.Float64()*240-120))
	}
	inf := float32(math.Inf(1))
	for _, v := range []float32{0, inf, math.MaxFloat32, math.SmallestNonzeroFloat32, 1, 0.6, 0.93, 4, 6, 14.5, 88.72, 88.73, 89, 103.9, 104, 2.9999, 3} {
		x = append(x, v, -v)
	}
	return append(x, float32(math.NaN()))
}

func TestFunctionErrors(t *testing.T) {
	step := uint64(1511)
	if testing.Short() {
		step = 30011
	}
	x := probes(step)
	const alpha, beta = 0.3, 0.7
	var across [functions][][]float32
	inEveryPath(t, func(t *testing.T) {
		for _, e := range functionErrors {
			y := make([]float32, len(x))
			Unary32(nil, e.f, y, x, alpha, beta)
			if Path() != "generic" {
				across[e.f] = append(across[e.f], y)
			}
			bad := 0
			for i, v := range x {
				if float64(v) < e.lo && e.lo > everything {
					continue
				}
				want := plain(e.f, float64(v), float64(float32(alpha)), float64(float32(beta)))
				got := float64(y[i])
				switch {
				case math.IsNaN(want) != math.IsNaN(got):
				case math.IsNaN(want) || float32(want) == y[i]:
					continue
				case math.Abs(got-want) <= e.ulps*ulp(math.Max(math.Abs(want), e.floor)):
					continue
				}
				if bad++; bad < 5 {
					t.Errorf("%v(%v) = %v, want %v ± %v ULP: off by %.3g", e.f, v, got, want, e.ulps, (got-want)/ulp(want))
				}
			}
		}
	})
	for f, ys := range across {
		for _, other := range ys[min(1, len(ys)):] {
			for i := range other {
				if a, b := other[i], ys[0][i]; math.Float32bits(a) != math.Float32bits(b) && (a == a || b == b) {
					t.Errorf("%v(%v): two vector paths give %v and %v", Function(f), x[i], a, b)
					break
				}
			}
		}
	}
}

// lengths are numbers of elements around those of vectors.
func lengths() (n []int) {
	for i := 1; i <= 36; i++ {
		n = append(n, i)
	}
	return append(n, 47, 48, 49, 63, 64, 65, 100)
}

// fenced is m rows of n marks, step apart, in a slice of marks whose ends must stay so.
type fenced struct {
	all, rows  []float32
	m, n, step int
}

const mark = 12345

func newFenced(r *rand.Rand, m, n int) *fenced {
	g := &fenced{m: m, n: n, step: n + r.IntN(3)}
	before := 20 + r.IntN(5)
	g.all = make([]float32, before+m*g.step+20)
	for i := range g.all {
		g.all[i] = mark
	}
	g.rows = g.all[before:][:m*g.step]
	return g
}

// row is the i-th row.
func (g *fenced) row(i int) []float32 { return g.rows[i*g.step:][:g.n] }

// check fails if anything but the rows was written.
func (g *fenced) check(t *testing.T, what string) {
	t.Helper()
	before := cap(g.all) - cap(g.rows)
	for i, v := range g.all {
		if pos := i - before; v != mark && (pos < 0 || pos >= len(g.rows) || pos%g.step >= g.n) {
			t.Fatalf("%s, %d rows of %d, %d apart: wrote %v at %d", what, g.m, g.n, g.step, v, pos)
		}
	}
}

// An element's result does not depend on where it lies, and nothing else is written.
func TestFunctionShapes(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for f := Relu; f < functions; f++ {
			for _, n := range lengths() {
				m := 1 + r.IntN(3)
				y := newFenced(r, m, n)
				xs := n + r.IntN(3)
				x := random[float32](r, m*xs+1)[1:]
				active.Load().unary[f](m, n, y.rows, y.step, x, xs, 0.3, 0.7)
				y.check(t, f.String())
				for i := range m {
					for j, got := range y.row(i) {
						var one [1]float32
						active.Load().unary[f](1, 1, one[:], 0, x[i*xs+j:i*xs+j+1], 0, 0.3, 0.7)
						if !equal(got, one[0]) {
							t.Fatalf("%v: element %d of %d is %v, alone %v", f, j, n, got, one[0])
						}
					}
				}
			}
		}
	})
}

func TestUnary32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range []int{0, 1, 100, unaryGrain, 3*unaryGrain + 5} {
			x := random[float32](r, n)
			for _, f := range []Function{Identity, Relu, Tanh} {
				want := make([]float32, n)
				Unary32(nil, f, want, x, 0, 0)
				for i := range x {
					if math.Abs(float64(want[i])-plain(f, float64(x[i]), 0, 0)) > 0x1p-22 {
						t.Fatalf("%v: %v of %v", f, want[i], x[i])
					}
				}
				got := append([]float32(nil), x...)
				Unary32(NewPool(3), f, got, got, 0, 0)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("%v of %d elements in place: %v at %d, want %v", f, n, got[i], i, want[i])
				}
			}
		}
	})
}

func TestFunctionString(t *testing.T) {
	if got, want := fmt.Sprint(GeluTanh, functions), "GeluTanh Function(28)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
