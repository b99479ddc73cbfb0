package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Any columns that begin at a panel are, bit by bit, those of the whole product.
func TestGemmPanels32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		for _, k := range []int{1, 7, 64, 255, 256, 257, 520} {
			for _, m := range []int{1, 2, 3, 5, 8, 9, 17} {
				n := 1 + r.IntN(300)
				lda := k + r.IntN(3)
				a, b := random[float32](r, m*lda), random[float32](r, k*n)
				a[r.IntN(len(a))] = float32(math.Inf(1))
				packed := Pack32(k, n, b, n, 1)
				j0 := r.IntN((n-1)/PanelColumns+1) * PanelColumns
				j1 := j0 + 1 + r.IntN(n-j0)
				if r.IntN(2) == 0 && j1 < n { // a whole panel more often than by chance
					j1 = min(n, (j1+PanelColumns-1)/PanelColumns*PanelColumns)
				}
				start := random[float32](r, m*n)
				for _, kind := range []string{"from zeros", "from C", "from a row", "from elsewhere"} {
					c, want := newFenced(r, m, j1-j0), make([]float32, m*n)
					from, ldf := []float32(nil), 0
					switch kind {
					case "from C":
						from, ldf = c.rows, c.step
					case "from a row":
						from, ldf = start[j0:n], 0
					case "from elsewhere":
						from, ldf = start[j0:], n
					}
					for i := range m {
						copy(c.row(i), start[i*n+j0:])
						if ldf > 0 {
							copy(want[i*n:(i+1)*n], start[i*n:])
						} else if from != nil {
							copy(want[i*n:(i+1)*n], start)
						}
					}
					GemmPacked32(nil, m, a, lda, 1, packed, want, n, from != nil)
					GemmPanels32(m, a, lda, packed, j0, j1, c.rows, c.step, from, ldf)
					what := fmt.Sprintf("columns %d to %d of A[%d %d]·B[%d %d] %s", j0, j1, m, k, k, n, kind)
					c.check(t, what)
					for i := range m {
						for j, v := range c.row(i) {
							if !equal(v, want[i*n+j0+j]) {
								t.Fatalf("%s: %v at (%d, %d), the whole product has %v", what, v, i, j, want[i*n+j0+j])
							}
						}
					}
				}
			}
		}
	})
}

func TestGemmPanels32Empty(t *testing.T) {
	c := []float32{1, 2, 3, 4}
	b := Pack32(0, 2, nil, 2, 1)
	GemmPanels32(2, nil, 0, b, 0, 2, c, 2, []float32{5, 6}, 0)
	if fmt.Sprint(c) != "[5 6 5 6]" {
		t.Errorf("no terms give %v", c)
	}
	GemmPanels32(2, nil, 0, b, 0, 2, c, 2, nil, 0)
	if fmt.Sprint(c) != "[0 0 0 0]" {
		t.Errorf("no terms from zeros give %v", c)
	}
	GemmPanels32(0, nil, 0, b, 0, 2, nil, 2, nil, 0)
	defer func() {
		if v := recover(); !strings.Contains(fmt.Sprint(v), "columns 1 to 2 of 2 are no panels") {
			t.Errorf("columns that begin within a panel: %v", v)
		}
	}()
	GemmPanels32(1, []float32{1}, 1, b, 1, 2, c, 2, nil, 0)
}
