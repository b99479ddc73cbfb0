package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// plainStep is the layer and its gradients in float64, index by index. Where an element of Y is so near
// to 0 that rounding decides whether ReLU lets it through, it makes that of dy 0.
func plainStep(b BilinearStep32, samples int, x, dy []float32) (t, y, dx, da, db, dbias []float64) {
	k, wide := b.N1*b.Terms, b.Terms*b.M2
	t, y = make([]float64, samples*k*b.M2), make([]float64, samples*b.M1*b.M2)
	dx, da, db = make([]float64, samples*b.N1*b.N2), make([]float64, b.M1*k), make([]float64, b.N2*wide)
	dbias = make([]float64, b.M1*b.M2)
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
				if b.Bias != nil {
					y[at] = float64(b.Bias[i*b.M2+j])
				}
				for l := range k {
					y[at] += float64(b.A[i*k+l]) * ts[l*b.M2+j]
				}
				if b.Relu && math.Abs(y[at]) < 1e-4 {
					dy[at] = 0
				}
				g := float64(dy[at])
				if b.Relu && !(y[at] > 0) {
					y[at], g = 0, 0
				}
				dbias[i*b.M2+j] += g
				for l := range k {
					da[i*k+l] += g * ts[l*b.M2+j]
					dt[l*b.M2+j] += float64(b.A[i*k+l]) * g
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
	return t, y, dx, da, db, dbias
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
		for i, c := range []struct {
			samples int
			b       BilinearStep32
		}{
			{1, BilinearStep32{N1: 1, N2: 1, M1: 1, M2: 1, Terms: 1}},
			{3, BilinearStep32{N1: 4, N2: 5, M1: 3, M2: 7, Terms: 2}},
			{37, BilinearStep32{N1: 28, N2: 28, M1: 32, M2: 32, Terms: 1}},
			{20, BilinearStep32{N1: 16, N2: 33, M1: 40, M2: 35, Terms: 3}},
			{2, BilinearStep32{N1: 1, N2: 50, M1: 60, M2: 1, Terms: 5}},
			{64, BilinearStep32{N1: 8, N2: 8, M1: 16, M2: 64, Terms: 4}},
			{9, BilinearStep32{N1: 10, N2: 4, M1: 5, M2: 6, Terms: 30}}, // more terms of a sum than one block has
		} {
			for _, end := range []string{"", "bias", "relu", "bias and relu"} {
				testBilinearStep(t, c.b, c.samples, uint64(i), end)
			}
		}
	})
	d := []float32{1, 2}
	BilinearStep32{N1: 1, N2: 1, M1: 1, M2: 1, Terms: 1, A: d, B: d}.Backward(nil, 0, nil, nil, nil, nil, StepGradients32{A: d, Fresh: [4]bool{false, true}})
	if d[0] != 0 {
		t.Error("the gradient of no samples is not 0")
	}
}

func testBilinearStep(t *testing.T, b BilinearStep32, n int, seed uint64, end string) {
	r := rand.New(rand.NewPCG(seed, uint64(b.Terms)))
	b.A, b.B = random[float32](r, b.M1*b.N1*b.Terms), random[float32](r, b.N2*b.Terms*b.M2)
	if b.Relu = strings.Contains(end, "relu"); strings.Contains(end, "bias") {
		b.Bias = random[float32](r, b.M1*b.M2)
	}
	x, dy := random[float32](r, n*b.N1*b.N2), random[float32](r, n*b.M1*b.M2)
	wantT, wantY, wantX, wantA, wantB, wantBias := plainStep(b, n, x, dy)
	tt, y := guardedRandom(r, n*b.N1*b.Terms*b.M2), guardedRandom(r, len(dy))
	b.Forward(NewPool(2), n, x, tt.v, y.v)
	nearly(t, "T", tt.v, wantT, nil)
	nearly(t, "Y "+end, y.v, wantY, nil)
	want, names := [4][]float64{wantX, wantA, wantB, wantBias}, [4]string{"dX ", "dA ", "dB ", "dBias "}
	for _, fresh := range [][4]bool{{true, true, true, true}, {}, {true, false, true}} {
		got := [4]guarded{guardedRandom(r, len(x)), guardedRandom(r, len(b.A)), guardedRandom(r, len(b.B)), guardedRandom(r, len(wantBias))}
		var starts, firsts, once [4][]float32
		for i, g := range got {
			firsts[i] = slices.Clone(g.v)
			if !fresh[i] {
				starts[i] = firsts[i]
			}
		}
		for threads := 1; threads <= 2; threads++ {
			for i, g := range got {
				copy(g.v, firsts[i])
			}
			b.Backward(NewPool(threads), n, x, tt.v, y.v, dy, StepGradients32{got[0].v, got[1].v, got[2].v, got[3].v, fresh})
			for i, g := range got {
				nearly(t, names[i]+end, g.v, want[i], starts[i])
				g.check(t, names[i]+end)
				if threads == 1 {
					once[i] = slices.Clone(g.v)
				} else if err := same(g.v, once[i]); err != nil {
					t.Fatalf("%s%s with two threads: %v", names[i], end, err)
				}
			}
		}
	}
	// Each by itself, the others not wanted.
	for i := range want {
		alone, d := make([]float32, len(want[i])), StepGradients32{Fresh: [4]bool{true, true, true, true}}
		*[4]*[]float32{&d.X, &d.A, &d.B, &d.Bias}[i] = alone
		b.Backward(nil, n, x, tt.v, y.v, dy, d)
		nearly(t, names[i]+"alone "+end, alone, want[i], nil)
	}
}

// BenchmarkBilinearStep is a layer of 32×32 ⊗ 32×32 on 128 samples, there and back.
func BenchmarkBilinearStep(b *testing.B) {
	const samples, n = 128, 32
	for _, terms := range []int{1, 4} {
		for _, threads := range []int{1, 2} {
			r := rand.New(rand.NewPCG(1, 2))
			l := BilinearStep32{N1: n, N2: n, M1: n, M2: n, Terms: terms, A: random[float32](r, n*n*terms), B: random[float32](r, n*n*terms),
				Bias: random[float32](r, n*n), Relu: true}
			x, t, y := random[float32](r, samples*n*n), make([]float32, samples*n*n*terms), random[float32](r, samples*n*n)
			p, dy := NewPool(threads), random[float32](r, len(y))
			d := StepGradients32{make([]float32, len(x)), make([]float32, len(l.A)), make([]float32, len(l.B)), make([]float32, n*n), [4]bool{true, true, true, true}}
			name := map[int]string{1: "1 term", 4: "4 terms"}[terms] + map[int]string{1: "", 2: ", 2 threads"}[threads]
			b.Run(name+"/forward", func(b *testing.B) {
				for b.Loop() {
					l.Forward(p, samples, x, t, y)
				}
				reportRate(b, samples*l.work(), 1, 1)
			})
			b.Run(name+"/backward", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					l.Backward(p, samples, x, t, y, dy, d)
				}
				reportRate(b, 2*samples*l.work(), 1, 1)
			})
		}
	}
}
