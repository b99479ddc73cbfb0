package kernel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// Blocks are whole rows that come once, with Gemm32's bits, whatever the strides and the threads.
func TestGemmEach(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, size := range [][3]int{{1, 1, 1}, {300, 500, 128}, {257, 1030, 17}, {1000, 130, 300}, {5, 40000, 3}} {
			m, n, k := size[0], size[1], size[2]
			r := rand.New(rand.NewPCG(uint64(m), uint64(n)))
			a, b := random[float32](r, m*k+1), random[float32](r, n*k+1)
			for _, turned := range []bool{false, true} {
				ars, acs, brs, bcs := k, 1, n, 1
				if turned {
					ars, acs, brs, bcs = 1, m, 1, k
				}
				want := make([]float32, m*n)
				Gemm32(nil, m, n, k, a, ars, acs, b, brs, bcs, want, n, false)
				for threads := 1; threads <= 2; threads++ {
					got, times := make([]float32, m*n), make([]int, m)
					var mu sync.Mutex
					GemmEach32(NewPool(threads), m, n, k, a, ars, acs, b, brs, bcs, func(at int, c []float32) {
						mu.Lock()
						defer mu.Unlock()
						copy(got[at:at+len(c)], c)
						for l := range len(c) / n {
							times[at/n+l]++
						}
					})
					if err := same(got, want); err != nil {
						t.Fatalf("%v, turned %v, %d threads: %v", size, turned, threads, err)
					}
					for i, v := range times {
						if v != 1 {
							t.Fatalf("%v: row %d came %d times", size, i, v)
						}
					}
				}
			}
		}
	})
}

func TestSuitsEach(t *testing.T) {
	for _, c := range []struct {
		m, n, k int
		want    bool
	}{{1024, 1024, 128, true}, {784, 1024, 128, true}, {10, 1024, 128, false}, {1024, 10, 128, false}, {64, 64, 4096, false}, {4096, 4096, 512, false}, {1024, 1024, 0, false}, {0, 0, 0, false}} {
		if got := SuitsEach32(c.m, c.n, c.k); got != c.want {
			t.Error(fmt.Sprint(c), got)
		}
	}
}
