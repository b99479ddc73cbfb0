package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainStep is the layer and its gradients in float64, index by index.
func plainStep(b BilinearStep32, samples int, x, dy []float32) (t, y, dx, da, db []float64) {
	k, wide := b.N1*b.Terms, b.Terms*b.M2
	t, y = make([]float64, samples*k*b.M2), make([]float64, samples*b.M1*b.M2)
	dx, da, db = make([]float64, samples*b.N1*b.N2), make([]float64, b.M1*k), make([]float64, b.N2*wide)
	for s := range samples {
		xs, ts, dt := x[s*b.N1*b.N2:], t[s*k*b.M2:], make([]float64, k*b.M2)
		for i := range b.N1 {
			for c := range wide {
				for j := range b.N2 {
					ts[i*wide+c] += float64(xs[i*b.N2+j]) * float64(b.B[j*wide+c])
				}
			}
		}
		for i := range b.M1 {
			for j := range b.M2 {
				at := (s*b.M1+i)*b.M2 + j
				for l := range k {
					y[at] += float64(b.A[i*k+l]) * ts[l*b.M2+j]
					da[i*k+l] += float64(dy[at]) * ts[l*b.M2+j]
					dt[l*b.M2+j] += float64(b.A[i*k+l]) * float64(dy[at])
				}
			}
		}
		for i := range b.N1 {
			for c := range wide {
				for j := range b.N2 {
					dx[(s*b.N1+i)*b.N2+j] += dt[i*wide+c] * float64(b.B[j*wide+c])
					db[j*wide+c] += float64(xs[i*b.N2+j]) * dt[i*wide+c]
				}
			}
		}
	}
	return t, y, dx, da, db
}

func nearly(t *testing.T, name string, got []float32, want []float64, start []float32) {
	t.Helper()
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		if start != nil {
			v += float64(start[i])
		}
		if !(math.Abs(float64(got[i])-v) <= 2e-5*scale) {
			t.Fatalf("%s: element %d is %v, wanted %v", name, i, got[i], v)
		}
	}
}

func TestBilinearStep(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, c := range []struct {
			samples int
			b       BilinearStep32
		}{
			{1, BilinearStep32{N1: 1, N2: 1, M1: 1, M2: 1, Terms: 1}},
			{3, BilinearStep32{N1: 4, N2: 5, M1: 3, M2: 7, Terms: 2}},
			{37, BilinearStep32{N1: 28, N2: 28, M1: 32, M2: 32, Terms: 1}},
			{20, BilinearStep32{N1: 16, N2: 33, M1: 40, M2: 35, Terms: 3}},
			{2, BilinearStep32{N1: 1, N2: 50, M1: 60, M2: 1, Terms: 5}},
			{64, BilinearStep32{N1: 8, N2: 8, M1: 16, M2: 64, Terms: 4}},
		} {
			b, n := c.b, c.samples
			r := rand.New(rand.NewPCG(uint64(n), uint64(b.Terms)))
			b.A, b.B = random[float32](r, b.M1*b.N1*b.Terms), random[float32](r, b.N2*b.Terms*b.M2)
			x, dy := random[float32](r, n*b.N1*b.N2), random[float32](r, n*b.M1*b.M2)
			wantT, wantY, wantX, wantA, wantB := plainStep(b, n, x, dy)
			tt, y := guardedRandom(r, n*b.N1*b.Terms*b.M2), guardedRandom(r, len(dy))
			b.Forward(NewPool(2), n, x, tt.v, y.v)
			nearly(t, "T", tt.v, wantT, nil)
			nearly(t, "Y", y.v, wantY, nil)
			for _, fresh := range [][3]bool{{true, true, true}, {}, {true, false, true}} {
				dx, da, db := guardedRandom(r, len(x)), guardedRandom(r, len(b.A)), guardedRandom(r, len(b.B))
				var starts, firsts [3][]float32
				for i, g := range []guarded{dx, da, db} {
					firsts[i] = slices.Clone(g.v)
					if !fresh[i] {
						starts[i] = firsts[i]
					}
				}
				var once [3][]float32
				for threads := 1; threads <= 2; threads++ {
					for i, g := range []guarded{dx, da, db} {
						copy(g.v, firsts[i])
					}
					b.Backward(NewPool(threads), n, x, tt.v, dy, dx.v, da.v, db.v, fresh)
					nearly(t, "dX", dx.v, wantX, starts[0])
					nearly(t, "dA", da.v, wantA, starts[1])
					nearly(t, "dB", db.v, wantB, starts[2])
					for i, g := range []guarded{dx, da, db} {
						g.check(t, "gradient")
						if threads == 1 {
							once[i] = slices.Clone(g.v)
						} else if err := same(g.v, once[i]); err != nil {
							t.Fatalf("with two threads: %v", err)
						}
					}
				}
				// Each by itself, the others not wanted.
				alone := make([]float32, len(da.v))
				b.Backward(nil, n, x, tt.v, dy, nil, alone, nil, [3]bool{false, true, false})
				nearly(t, "dA alone", alone, wantA, nil)
				alone = make([]float32, len(dx.v))
				b.Backward(nil, n, x, tt.v, dy, alone, nil, nil, [3]bool{true, false, false})
				nearly(t, "dX alone", alone, wantX, nil)
			}
		}
	})
	d := []float32{1, 2}
	BilinearStep32{N1: 1, N2: 1, M1: 1, M2: 1, Terms: 1, A: d, B: d}.Backward(nil, 0, nil, nil, nil, nil, d, nil, [3]bool{false, true, false})
	if d[0] != 0 {
		t.Error("the gradient of no samples is not 0")
	}
}

// BenchmarkBilinearStep is a layer of 32×32 ⊗ 32×32 on 128 samples, there and back.
func BenchmarkBilinearStep(b *testing.B) {
	const samples, n = 128, 32
	for _, terms := range []int{1, 4} {
		for _, threads := range []int{1, 2} {
			r := rand.New(rand.NewPCG(1, 2))
			l := BilinearStep32{n, n, n, n, terms, random[float32](r, n*n*terms), random[float32](r, n*n*terms)}
			x, t, y := random[float32](r, samples*n*n), make([]float32, samples*n*n*terms), random[float32](r, samples*n*n)
			dx, da, db, p := make([]float32, len(x)), make([]float32, len(l.A)), make([]float32, len(l.B)), NewPool(threads)
			name := map[int]string{1: "1 term", 4: "4 terms"}[terms] + map[int]string{1: "", 2: ", 2 threads"}[threads]
			b.Run(name+"/forward", func(b *testing.B) {
				for b.Loop() {
					l.Forward(p, samples, x, t, dx)
				}
				reportRate(b, samples*l.work(), 1, 1)
			})
			b.Run(name+"/backward", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					l.Backward(p, samples, x, t, y, dx, da, db, [3]bool{true, true, true})
				}
				reportRate(b, 2*samples*l.work(), 1, 1)
			})
		}
	}
}
