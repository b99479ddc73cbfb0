package op

import (
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"

	"bilinc/runtime/kernel"
)

// Every element of every update comes in one wave, and those that meet in one place come in order.
func TestScatteringShares(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ lines, along, inner, size int }{
		{1, 100, 500, 1}, {3, 200, 70, 1}, {40, 1000, 1, 1}, {400, 3, 50, 1}, {1, 30000, 1, 1}, {1, 9000, 1, 3}, {1, 400, 1, 100}, {1, 3, 1, 1}, {1, 0, 1, 1},
	} {
		s := scattering{size: c.size, lines: c.lines, inner: c.inner}
		n, places := c.lines*c.along*c.inner, 200 // along the axis, or slices
		for k := range n {
			line, behind, v := k/(c.along*c.inner), k%c.inner, r.IntN(places)
			s.pos = append(s.pos, ((line*places+v)*c.inner+behind)*c.size)
		}
		total := c.lines * places * c.inner * c.size
		for _, p := range []*kernel.Pool{nil, kernel.NewPool(2), kernel.NewPool(3)} {
			var mu sync.Mutex
			got, count := make([][]int, total), 0
			s.share(p, total, func(w wave) {
				for i := range w.count() {
					k := w.update(i)
					mu.Lock()
					for e := range s.size {
						got[s.pos[k]+e] = append(got[s.pos[k]+e], k)
						count++
					}
					mu.Unlock()
				}
			})
			if count != n*c.size {
				t.Errorf("%v on %d threads: %d elements, wanted %d", c, p.Threads(), count, n*c.size)
			}
			for at, ks := range got {
				if !slices.IsSorted(ks) {
					t.Fatalf("%v on %d threads: place %d sees the updates %v", c, p.Threads(), at, ks)
				}
			}
		}
	}
}
