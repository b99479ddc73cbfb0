package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The bits are those of the way straight ahead, which products that add and those of odd strides
// take.
func TestGemmTurned(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, size := range [][3]int{{16, 256, 256}, {17, 300, 259}, {33, 1030, 600}, {128, 1024, 784}, {61, 250, 1100}} {
			m, n, k := size[0], size[1], size[2]
			for gap := range 2 {
				lda, ldb, ldc := k+3*gap, k+5*gap, n+7*gap
				if !turns(m, n, k, 1, 1, ldb) {
					t.Errorf("%v is not turned", size)
				}
				r := rand.New(rand.NewPCG(uint64(m), uint64(gap)))
				a, b := random[float32](r, m*lda), random[float32](r, n*ldb)
				want, got := guardedRandom(r, m*ldc), guardedRandom(r, m*ldc)
				copy(got.v, want.v)
				im := active.Load().f32
				gemm(im, nil, m, n, k, a, lda, 1, b, 1, ldb, nil, want.v, ldc, ends[float32]{})
				for threads := 1; threads <= 2; threads++ {
					Gemm32(NewPool(threads), m, n, k, a, lda, 1, b, 1, ldb, got.v, ldc, false)
					if err := same(got.v, want.v); err != nil {
						t.Fatalf("%v, gap %d, %d threads: %v", size, gap, threads, err)
					}
					got.check(t, fmt.Sprint(size))
				}
			}
		}
	})
	for _, straight := range [][6]int{{8, 1024, 1024, 1, 1, 1024}, {1024, 1024, 1024, 1, 1, 1024}, {64, 1024, 1024, 1, 1024, 1}, {64, 1024, 1024, 64, 1, 1024}, {16, 64, 64, 1, 1, 64}} {
		if turns(straight[0], straight[1], straight[2], straight[3], straight[4], straight[5]) {
			t.Errorf("%v is turned", straight)
		}
	}
}
