package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// checkChunks runs one loop and checks that every chunk was handed out once, with its own bounds.
func checkChunks(p *Pool, n, grain int) error {
	seen := make([]atomic.Int32, n)
	var bad atomic.Pointer[string]
	p.For(n, grain, func(lo, hi int) {
		if g := max(grain, 1); lo%g != 0 || hi != min(n, lo+g) {
			s := fmt.Sprintf("For(%d, %d) called f(%d, %d)", n, grain, lo, hi)
			bad.Store(&s)
		}
		for i := lo; i < hi; i++ {
			seen[i].Add(1)
		}
	})
	if s := bad.Load(); s != nil {
		return fmt.Errorf("%s", *s)
	}
	for i := range seen {
		if v := seen[i].Load(); v != 1 {
			return fmt.Errorf("For(%d, %d) did step %d %d times", n, grain, i, v)
		}
	}
	return nil
}

func TestPoolFor(t *testing.T) {
	for _, p := range []*Pool{nil, NewPool(1), NewPool(2), NewPool(8), NewPool(0)} {
		for _, n := range []int{0, 1, 2, 7, 64, 1000} {
			for _, grain := range []int{-1, 0, 1, 3, 64, 5000} {
				if err := checkChunks(p, n, grain); err != nil {
					t.Errorf("%d threads: %v", p.Threads(), err)
				}
			}
		}
	}
}

// More callers than slots, loops inside of loops.
func TestPoolConcurrentCallers(t *testing.T) {
	p := NewPool(4)
	var wg sync.WaitGroup
	for range 2*poolSlots + 1 {
		wg.Go(func() {
			for n := range 60 {
				if err := checkChunks(p, n, 3); err != nil {
					t.Error(err)
				}
				p.For(3, 1, func(int, int) {
					if err := checkChunks(p, n, 5); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
	wg.Wait()
}

// helper and caller both panic in their chunks; the pool must serve on.
func TestPoolPanicReachesCaller(t *testing.T) {
	p := NewPool(3)
	for range 50 {
		func() {
			defer func() {
				if v := recover(); v != "chunk 5" {
					t.Errorf("recovered %v, want chunk 5", v)
				}
			}()
			p.For(64, 1, func(lo, _ int) {
				if lo == 5 {
					panic("chunk 5")
				}
			})
			t.Error("For returned after a panic")
		}()
		if err := checkChunks(p, 100, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// The number of threads is no part of a result.
func TestGemmSameBitsForAnyThreads(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testThreads(t, Gemm32) })
		t.Run("float64", func(t *testing.T) { testThreads(t, Gemm64) })
		t.Run("packed", func(t *testing.T) { testThreads(t, packedGemm) })
	})
}

func testThreads[T float](t *testing.T, gemm gemmFunc[T]) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range [][3]int{{1, 4096, 600}, {7, 1500, 700}, {250, 300, 300}, {260, 130, superK + 70}} {
		m, n, k := s[0], s[1], s[2]
		a, b := random[T](r, m*k), random[T](r, k*n)
		for _, transposed := range []bool{false, true} {
			ars, acs, brs, bcs := k, 1, n, 1
			if transposed {
				ars, acs, brs, bcs = 1, m, 1, k
			}
			want := make([]T, m*n)
			gemm(nil, m, n, k, a, ars, acs, b, brs, bcs, want, n, false)
			for _, threads := range []int{1, 2, 3, 8} {
				got := make([]T, m*n)
				gemm(NewPool(threads), m, n, k, a, ars, acs, b, brs, bcs, got, n, false)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("m=%d n=%d k=%d transposed=%v: %d threads give %v at %d, the caller alone %v", m, n, k, transposed, threads, got[i], i, want[i])
				}
			}
		}
	}
}

// firstDifference is the first index where the bits differ, or -1.
func firstDifference[T float](x, y []T) int {
	for i := range x {
		if math.Float64bits(float64(x[i])) != math.Float64bits(float64(y[i])) {
			return i
		}
	}
	return -1
}
