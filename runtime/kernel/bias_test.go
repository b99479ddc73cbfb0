package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// biasLoops are the passes on up to four slices, of rows·n elements where whole says so, else of n, and
// what they do at one place.
var biasLoops = []struct {
	name  string
	whole []bool
	run   func(p *Pool, rows, n int, v [][]float32)
	plain func(v []*float32)
}{
	{"Bias32", []bool{true, true, false}, func(p *Pool, rows, n int, v [][]float32) { Bias32(p, rows, n, v[0], v[1], v[2], false) },
		func(v []*float32) { *v[0] = *v[1] + *v[2] }},
	{"Bias32 with relu", []bool{true, true, false}, func(p *Pool, rows, n int, v [][]float32) { Bias32(p, rows, n, v[0], v[1], v[2], true) },
		func(v []*float32) {
			if *v[0] = *v[1] + *v[2]; *v[0] < 0 {
				*v[0] = 0
			}
		}},
	{"ReluBack32", []bool{true, true, true}, func(p *Pool, _, _ int, v [][]float32) { ReluBack32(p, v[0], v[1], v[2], false) },
		func(v []*float32) { *v[0] = gated(*v[1], *v[2]) }},
	{"ReluBack32 adding", []bool{true, true, true}, func(p *Pool, _, _ int, v [][]float32) { ReluBack32(p, v[0], v[1], v[2], true) },
		func(v []*float32) { *v[0] += gated(*v[1], *v[2]) }},
	{"BiasReluBack32", []bool{true, true, true, false}, func(p *Pool, rows, n int, v [][]float32) { BiasReluBack32(p, rows, n, v[0], v[1], v[2], v[3]) },
		func(v []*float32) {
			*v[0] = gated(*v[1], *v[2])
			*v[3] += *v[0]
		}},
	{"SumRows32", []bool{false, true}, func(p *Pool, rows, n int, v [][]float32) { SumRows32(p, rows, n, v[0], v[1]) },
		func(v []*float32) { *v[0] += *v[1] }},
}

func gated(dy, y float32) float32 {
	if y > 0 {
		return dy
	}
	return 0
}

func TestBiases(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, l := range biasLoops {
			for _, size := range [][2]int{{0, 5}, {1, 1}, {3, 7}, {2, 16}, {5, 33}, {1, 100}, {17, 48}, {3, 0}, {300, 1030}, {2, minBias}} {
				rows, n := size[0], size[1]
				r := rand.New(rand.NewPCG(uint64(rows), uint64(n)))
				var g []guarded
				var v, start, want [][]float32
				for i, whole := range l.whole {
					length := n
					if whole {
						length = rows * n
					}
					g = append(g, guardedRandom(r, length))
					for k, odd := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), 1e-42} {
						if length > 20 {
							g[i].v[(k*13+i)%length] = odd
						}
					}
					v, start, want = append(v, g[i].v), append(start, slices.Clone(g[i].v)), append(want, slices.Clone(g[i].v))
				}
				at := make([]*float32, len(v))
				for i := range rows {
					for j := range n {
						for k, whole := range l.whole {
							if at[k] = nil; whole {
								at[k] = &want[k][i*n+j]
							} else {
								at[k] = &want[k][j]
							}
						}
						l.plain(at)
					}
				}
				for threads := range 3 {
					for i := range v {
						copy(v[i], start[i])
					}
					var p *Pool
					if threads > 0 {
						p = NewPool(threads)
					}
					l.run(p, rows, n, v)
					for i := range v {
						if err := same(v[i], want[i]); err != nil {
							t.Fatalf("%s of %d×%d, %d threads, slice %d: %v", l.name, rows, n, threads, i, err)
						}
						g[i].check(t, l.name)
					}
				}
			}
		}
	})
}

// What may be one slice gives the same where it is.
func TestBiasesInPlace(t *testing.T) {
	const rows, n = 5, 37
	r := rand.New(rand.NewPCG(1, 1))
	x, y, b := random[float32](r, rows*n), random[float32](r, rows*n), random[float32](r, n)
	apart, db := make([]float32, rows*n), make([]float32, n)
	for name, f := range map[string]func(dst, src []float32){
		"Bias32":         func(dst, src []float32) { Bias32(nil, rows, n, dst, src, b, true) },
		"ReluBack32":     func(dst, src []float32) { ReluBack32(nil, dst, src, y, false) },
		"BiasReluBack32": func(dst, src []float32) { BiasReluBack32(nil, rows, n, dst, src, y, db) },
	} {
		f(apart, x)
		together := slices.Clone(x)
		f(together, together)
		if err := same(together, apart); err != nil {
			t.Errorf("%s in place: %v", name, err)
		}
	}
}

func BenchmarkBiases(b *testing.B) {
	const rows, n = 128, 1024
	r := rand.New(rand.NewPCG(1, 2))
	for _, l := range biasLoops {
		var v [][]float32
		for _, whole := range l.whole {
			if v = append(v, random[float32](r, n)); whole {
				v[len(v)-1] = random[float32](r, rows*n)
			}
		}
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.run(nil, rows, n, v)
			}
		})
	}
}
