package kernel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A matrix that comes in columns is packed as one that is there, each column asked for once; an error
// comes out.
func TestPackColumns(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		nr := active.Load().f32.nr
		for _, c := range []struct{ k, n, brs, bcs int }{
			{30, 700, 700, 1}, {21, 150, 157, 1}, {150, 211, 1, 150}, {15, 211, 1, 17}, {12, 100, 200, 2}, {5, 1, 1, 1}, {1, 5, 5, 1}, {0, 4, 4, 1}, {4, 0, 1, 4},
		} {
			b := make([]float32, max(0, (c.k-1)*c.brs)+max(0, (c.n-1)*c.bcs)+1)
			for i := range b {
				b[i] = rng.Float32()
			}
			want := Pack32(c.k, c.n, b, c.brs, c.bcs)
			for _, width := range []int{0, 1, 60, 64, c.n, 10 * c.n} {
				next := 0
				got, err := PackColumns32(c.k, c.n, width, func(j0, j1 int) ([]float32, int, int, error) {
					if j0 != next || j1 > c.n || j1-j0 > max(width+nr-1, nr) {
						t.Errorf("%+v, width %d: columns %d to %d behind %d", c, width, j0, j1, next)
					}
					next = j1
					part := make([]float32, c.k*(j1-j0))
					for l := range c.k {
						for j := j0; j < j1; j++ {
							part[(j-j0)*c.k+l] = b[l*c.brs+j*c.bcs]
						}
					}
					return part, 1, c.k, nil
				})
				if err != nil || !slices.Equal(got.data, want.data) || got.k != want.k || got.n != want.n || next != c.n && c.k > 0 {
					t.Errorf("%+v, width %d: packed in parts it is another (%v)", c, width, err)
				}
			}
		}
		bad := errors.New("bad")
		_, err := PackColumns32(3, 4*nr, nr, func(j0, j1 int) ([]float32, int, int, error) {
			if j0 > nr {
				return nil, 0, 0, fmt.Errorf("columns %d to %d: %w", j0, j1, bad)
			}
			return make([]float32, 3*nr), nr, 1, nil
		})
		if !errors.Is(err, bad) {
			t.Errorf("found %v, wanted the error", err)
		}
	})
}
