package kernel

import (
	"math/rand/v2"
	"testing"
)

// testFew compares few with the tile, block after block of terms.
func testFew[T float](t *testing.T, im *impl[T]) {
	if im.few == nil {
		t.Skip("there is none")
	}
	r := rand.New(rand.NewPCG(1, 2))
	const most = 40
	for m := 1; m <= im.mr; m++ {
		for _, k := range []int{1, 5, most - 1, most, most + 1, 2 * most, 3*most + 7} {
			for _, panels := range []int{1, 2, 5} {
				for kind := range 16 {
					ars, aks, n := k+1, 1, panels*im.nr
					if kind&1 != 0 {
						ars, aks = 1, m
					}
					ldc, ldf := n+3, n+1
					if kind&8 != 0 {
						ldf = 0 // the same for every row
					}
					a, b := random[T](r, m*(k+1)), random[T](r, k*n)
					var from []T
					if kind&2 != 0 {
						from = random[T](r, m*(n+1))
					}
					relu := kind&4 != 0
					want, got := make([]T, m*ldc), make([]T, m*ldc)
					for i := range want {
						want[i], got[i] = mark, mark
					}
					for q := range panels {
						at, start, step := want[q*im.nr:], after(from, q*im.nr), ldf
						for l := 0; l < k; l += most {
							im.tile(m, min(most, k-l), a[l*aks:], ars, aks, b[(q*k+l)*im.nr:], im.nr, at, ldc, im.nr, start, step, relu && l+most >= k)
							start, step = at, ldc
						}
					}
					im.few(m, k, most, panels, a, ars, aks, b, 1<<20, got, ldc, from, ldf, relu)
					if i := firstDifference(got, want); i >= 0 {
						t.Fatalf("m=%d k=%d, %d panels, kind %d: element %d of C is %v, the tile's %v", m, k, panels, kind, i, got[i], want[i])
					}
				}
			}
		}
	}
}

func TestFew(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name+"/float32", func(t *testing.T) { testFew(t, p.f32) })
		t.Run(p.name+"/float64", func(t *testing.T) { testFew(t, p.f64) })
	}
}
