//go:build !race

package kernel

// The race detector makes sync.Pool forget at random.

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

func TestGemmAllocatesNothing(t *testing.T) {
	const m, n, k = 200, 300, 400
	r := rand.New(rand.NewPCG(1, 1))
	a, b, c := random[float32](r, m*k), random[float32](r, k*n), make([]float32, m*n)
	pb, p := Pack32(k, n, b, n, 1), NewPool(2)
	f := newFiles(r, bilinearShape{32, 32, 32, 32, 4})
	w, x, y := f.pack(true), random[float32](r, 64*1024), make([]float32, 64*1024)
	stats := make([]float64, 2*m)
	for name, f := range map[string]func(){
		"Gemm32":               func() { Gemm32(p, m, n, k, a, k, 1, b, n, 1, c, n, false) },
		"Gemm32 of transposes": func() { Gemm32(p, m, n, k, a, 1, m, b, 1, k, c, n, false) },
		"GemmPacked32":         func() { GemmPacked32(p, m, a, k, 1, pb, c, n, false) },
		"GemmFused32": func() {
			GemmFused32(p, m, a, k, 1, pb, c, n, Epilogue32{Bias: b, F: Relu})
		},
		"Zip32":                   func() { Zip32(p, Plus, m, k, a, k, a, k, 1, b, 0, 1) },
		"Softmax32":               func() { Softmax32(p, m, k, a, k, a, k) },
		"SoftmaxColumns32":        func() { SoftmaxColumns32(p, 2, k, m/4, a[m*k/2:], a[:m*k/2]) },
		"LogSoftmaxColumns32":     func() { LogSoftmaxColumns32(p, 2, k, m/4, a[m*k/2:], a[:m*k/2]) },
		"LogSoftmax32":            func() { LogSoftmax32(p, m/2, k, a[m*k/2:], a[:m*k/2]) },
		"LayerNorm32":             func() { LayerNorm32(p, m, k, a, k, a, k, b, b[k:], 1e-5, stats) },
		"Unary32":                 func() { Unary32(p, Relu, a, a, 0, 0) },
		"Mul":                     func() { w.Mul(p, 64, x, 1024, y, 1024, Epilogue32{Bias: b, F: Relu}) },
		"GemmPacked32 of one row": func() { GemmPacked32(p, 1, a, k, 1, pb, c, n, false) },
	} {
		// Below one: the garbage collector may take the scratch memory once.
		if got := testing.AllocsPerRun(100, f); got >= 1 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
}

func TestPoolForAllocatesNothing(t *testing.T) {
	p := NewPool(2)
	var sum atomic.Int64
	f := func(lo, hi int) { sum.Add(int64(hi - lo)) }
	// Below one: a helper started anew may cost a goroutine now and then.
	if got := testing.AllocsPerRun(1000, func() { p.For(64, 1, f) }); got >= 1 {
		t.Errorf("For allocates %v times", got)
	}
}

func TestOptimisersAllocateNothing(t *testing.T) {
	p, n := NewPool(2), 3*optimGrain
	v := [][]float32{make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)}
	for _, l := range optimLoops {
		if got := testing.AllocsPerRun(100, func() { l.run(p, v[:l.n]) }); got >= 1 {
			t.Errorf("%s allocates %v times", l.name, got)
		}
	}
	if got := testing.AllocsPerRun(100, func() { SumSquares32(p, v[0]) }); got >= 1 {
		t.Errorf("SumSquares32 allocates %v times", got)
	}
}

func TestListsAllocateNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	p, x, y, c := NewPool(2), random[float32](r, 64*1024), random[float32](r, 64*1024), make([]float32, 64*1024)
	list := Matrices32{x, 1024, 32, 1}
	for name, f := range map[string]func(){
		"GemmBatch32":    func() { GemmBatch32(p, 64, 32, 32, 32, list, Matrices32{y, 1024, 1, 32}, c, 1024, 32, false) },
		"GemmSum32":      func() { GemmSum32(p, 64, 32, 32, 32, list, Matrices32{y, 1024, 1, 32}, c, 32, false) },
		"Gemm32, turned": func() { Gemm32(p, 16, 256, 256, x, 256, 1, y, 1, 256, c, 256, false) },
		"Bias32":         func() { Bias32(p, 64, 1024, x, x, y[:1024], true) },
	} {
		if got := testing.AllocsPerRun(100, f); got >= 1 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
}

func TestConv32Allocations(t *testing.T) {
	p := NewPool(2)
	for _, s := range []Conv{
		convCase(1, 1, 32, 64, 24, 80, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),
		convCase(1, 64, 1, 1, 24, 80, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1),
		convCase(1, 1, 3, 16, 48, 80, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1),
	} {
		x, w := make([]float32, s.Groups*s.C*s.H*s.W), make([]float32, s.Groups*s.M*s.C*s.KH*s.KW)
		y := make([]float32, s.Groups*s.M*s.OH*s.OW)
		if n := testing.AllocsPerRun(20, func() { Conv32(p, s, y, x, w, nil, Identity, 0, 0) }); n > 0.5 {
			t.Errorf("%+v: %g allocations a call", s, n)
		}
	}
}
