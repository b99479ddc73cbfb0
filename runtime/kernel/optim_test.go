package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// optimSizes reach from nothing over partial blocks to several tasks.
var optimSizes = []int{0, 1, 7, 15, 16, 17, 31, 32, 100, optimGrain - 1, optimGrain + 33, 3*optimGrain + 5}

// guarded is a random slice of n elements, at an odd offset, whose neighbours must stay as they are.
type guarded struct{ all, v []float32 }

const optimGuard = 12345

func guardedRandom(r *rand.Rand, n int) guarded {
	all := random[float32](r, n+2*37)
	for i := range 37 {
		all[i], all[n+37+i] = optimGuard, optimGuard
	}
	return guarded{all, all[37 : n+37 : n+37]}
}

func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	for i := range 37 {
		if g.all[i] != optimGuard || g.all[len(g.all)-1-i] != optimGuard {
			t.Fatalf("%s: a cell beside the slice changed", name)
		}
	}
}

// same reports equal bits, with one NaN as good as another.
func same(a, b []float32) error {
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) && (v == v || b[i] == b[i]) {
			return fmt.Errorf("element %d is %v, wanted %v", i, v, b[i])
		}
	}
	return nil
}

// optimLoops are the loops on up to four slices, with the plain ones written once more, element by
// element, as the documentation has them.
var optimLoops = []struct {
	name  string
	n     int // slices
	run   func(p *Pool, v [][]float32)
	plain func(x []float32) // the elements of the slices at one place
}{
	{"Adam", 4, func(p *Pool, v [][]float32) { Adam32(p, v[0], v[1], v[2], v[3], adamStep(false)) }, func(x []float32) { plainAdam(x, adamStep(false)) }},
	{"AdamW", 4, func(p *Pool, v [][]float32) { Adam32(p, v[0], v[1], v[2], v[3], adamStep(true)) }, func(x []float32) { plainAdam(x, adamStep(true)) }},
	{"SGD", 2, func(p *Pool, v [][]float32) { SGD32(p, v[0], v[1], nil, sgdStep(0, false)) }, func(x []float32) { plainSGD(x, sgdStep(0, false)) }},
	{"momentum", 3, func(p *Pool, v [][]float32) { SGD32(p, v[0], v[1], v[2], sgdStep(0.9, false)) }, func(x []float32) { plainSGD(x, sgdStep(0.9, false)) }},
	{"Nesterov", 3, func(p *Pool, v [][]float32) { SGD32(p, v[0], v[1], v[2], sgdStep(0.9, true)) }, func(x []float32) { plainSGD(x, sgdStep(0.9, true)) }},
	{"Axpy32", 2, func(p *Pool, v [][]float32) { Axpy32(p, v[0], 0.3, v[1]) }, func(x []float32) { x[0] += float32(0.3 * x[1]) }},
	{"Blend32", 2, func(p *Pool, v [][]float32) { Blend32(p, v[0], 0.3, v[1]) }, func(x []float32) { x[0] += float32(0.3 * (x[1] - x[0])) }},
}

func adamStep(decoupled bool) AdamStep {
	return AdamStep{Rate: 0.01, Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-6, WeightDecay: 0.1, Decoupled: decoupled, Step: 3, Scale: 0.7}
}

func sgdStep(momentum float64, nesterov bool) SGDStep {
	return SGDStep{Rate: 0.01, Momentum: momentum, Nesterov: nesterov, WeightDecay: 0.1, Scale: 0.7}
}

func plainAdam(x []float32, o AdamStep) {
	w, g, m, s := x[0], float32(float32(o.Scale)*x[1]), x[2], x[3]
	if o.Decoupled {
		g += 0 * w
	} else {
		g += float32(float32(o.WeightDecay) * w)
	}
	m = float32(float32(o.Beta1)*m) + float32(float32(1-o.Beta1)*g)
	s = float32(float32(o.Beta2)*s) + float32(float32(1-o.Beta2)*float32(g*g))
	t := float64(o.Step)
	d := float32(float32(math.Sqrt(float64(s)))*float32(1/math.Sqrt(1-math.Pow(o.Beta2, t)))) + float32(o.Epsilon)
	if o.Decoupled {
		w = float32(float32(1-o.Rate*o.WeightDecay) * w)
	}
	x[0], x[2], x[3] = w-float32(float32(o.Rate/(1-math.Pow(o.Beta1, t)))*m)/d, m, s
}

func plainSGD(x []float32, o SGDStep) {
	g := float32(float32(o.Scale)*x[1]) + float32(float32(o.WeightDecay)*x[0])
	u := g
	if o.Momentum != 0 {
		x[2] = float32(float32(o.Momentum)*x[2]) + g
		if u = x[2]; o.Nesterov {
			u = g + float32(float32(o.Momentum)*x[2])
		}
	}
	x[0] -= float32(float32(o.Rate) * u)
}

func TestOptimisers(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, l := range optimLoops {
			for _, n := range optimSizes {
				r := rand.New(rand.NewPCG(uint64(n), 1))
				var g []guarded
				var v, want [][]float32
				for i := range l.n {
					g = append(g, guardedRandom(r, n))
					v = append(v, g[i].v)
					if l.n == 4 && i == 3 {
						for k, e := range v[3] {
							v[3][k] = e * e // a mean of squares
						}
					}
					for k, odd := range []float32{float32(math.NaN()), float32(math.Inf(1)), 0, float32(math.Copysign(0, -1)), 1e-42, 3e38} {
						if n > 20 {
							v[i][(k*29+i)%n] = odd
						}
					}
					want = append(want, slices.Clone(v[i]))
				}
				x := make([]float32, l.n)
				for k := range n {
					for i := range x {
						x[i] = want[i][k]
					}
					l.plain(x)
					for i := range x {
						want[i][k] = x[i]
					}
				}
				start := make([][]float32, l.n)
				for i := range v {
					start[i] = slices.Clone(v[i])
				}
				for threads := range 3 {
					for i := range v {
						copy(v[i], start[i])
					}
					var p *Pool
					if threads > 0 {
						p = NewPool(threads)
					}
					l.run(p, v)
					for i := range v {
						if err := same(v[i], want[i]); err != nil {
							t.Fatalf("%s of %d elements, %d threads, slice %d: %v", l.name, n, threads, i, err)
						}
						g[i].check(t, l.name)
					}
				}
			}
		}
	})
}

func TestSumSquares(t *testing.T) {
	bits := map[int]float64{} // of the first path
	inEveryPath(t, func(t *testing.T) {
		for _, n := range optimSizes {
			x := guardedRandom(rand.New(rand.NewPCG(uint64(n), 2)), n).v
			want := 0.0
			for _, v := range x {
				want += float64(v) * float64(v)
			}
			got := SumSquares32(nil, x)
			if math.Abs(got-want) > 1e-12*want {
				t.Errorf("%d elements: %v, wanted %v", n, got, want)
			}
			if two := SumSquares32(NewPool(2), x); two != got {
				t.Errorf("%d elements: %v with two threads, %v with one", n, two, got)
			}
			if first, ok := bits[n]; ok && first != got {
				t.Errorf("%d elements: %v, another path has %v", n, got, first)
			}
			bits[n] = got
			if n > 0 {
				x[n/2] = float32(math.NaN())
				if got := SumSquares32(nil, x); got == got {
					t.Errorf("%d elements, one of them NaN: %v", n, got)
				}
			}
		}
	})
}

func TestOptimisersRefuse(t *testing.T) {
	defer func() {
		if v := recover(); v != "kernel: slice 2 of an optimiser's step has 3 elements, the weights have 4" {
			t.Errorf("found %v", v)
		}
	}()
	Adam32(nil, make([]float32, 4), make([]float32, 4), make([]float32, 3), make([]float32, 4), adamStep(true))
}

// BenchmarkOptimisers streams 1.9 M weights, as many as the shipped perceptron has.
func BenchmarkOptimisers(b *testing.B) {
	const n = 1863690
	r := rand.New(rand.NewPCG(1, 2))
	v := [][]float32{random[float32](r, n), random[float32](r, n), make([]float32, n), make([]float32, n)}
	for _, l := range optimLoops {
		for _, threads := range []int{1, 2} {
			p := NewPool(threads)
			b.Run(fmt.Sprintf("%s/threads=%d", l.name, threads), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(4 * n * l.n))
				for b.Loop() {
					l.run(p, v[:l.n])
				}
			})
		}
	}
	b.Run("SumSquares32", func(b *testing.B) {
		b.SetBytes(4 * n)
		for b.Loop() {
			SumSquares32(nil, v[1])
		}
	})
}
