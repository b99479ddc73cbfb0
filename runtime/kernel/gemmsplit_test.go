package kernel

import (
	"math/rand/v2"
	"testing"
)

// The sums are Gemm32's to within the rounding of their halves, for any number of threads the same bits,
// and other products are Gemm32's to the bit.
func TestGemmSplit(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, c := range []struct {
			m, n, k int
			turned  bool
			split   bool
		}{{128, 1024, 1024, false, true}, {33, 700, 1030, false, true}, {240, 1100, 515, false, true},
			{128, 1024, 1024, true, false}, {241, 1024, 512, false, false}, {64, 2048, 511, false, false}, {4, 1024, 1024, false, false}, {64, 512, 512, false, false}} {
			r := rand.New(rand.NewPCG(uint64(c.m), uint64(c.n)))
			a, b, before := random[float32](r, c.m*c.k), random[float32](r, c.k*c.n), random[float32](r, c.m*c.n)
			brs, bcs := c.n, 1
			if c.turned {
				brs, bcs = 1, c.k
			}
			for _, add := range []bool{false, true} {
				want := append([]float32{}, before...)
				Gemm32(nil, c.m, c.n, c.k, a, c.k, 1, b, brs, bcs, want, c.n, add)
				var first []float32
				for threads := 1; threads <= 3; threads++ {
					got := append([]float32{}, before...)
					GemmSplit32(NewPool(threads), c.m, c.n, c.k, a, c.k, 1, b, brs, bcs, got, c.n, add)
					if first == nil {
						first = got
					}
					if err := same(got, first); err != nil {
						t.Fatalf("%+v, add %v, %d threads: %v", c, add, threads, err)
					}
				}
				if (same(first, want) != nil) != c.split {
					t.Errorf("%+v, add %v: not the sums that were wanted", c, add)
				}
				// Sums are about √k = 32, so that a rounding is 2e-6; in k of them some 10 add up.
				for i, v := range first {
					if d := float64(v) - float64(want[i]); d*d > 1e-9 {
						t.Fatalf("%+v, add %v: element %d is %v, wanted %v", c, add, i, v, want[i])
					}
				}
			}
		}
	})
}
