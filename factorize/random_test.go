package factorize

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// The elements of the sum have the variance asked for, whatever the shape and the number of terms, and both factors
// are of one size.
func TestRandomKeepsVariance(t *testing.T) {
	const want = 0.03
	for _, c := range []struct {
		s     Shape
		terms int
	}{{Shape{20, 30, 25, 20}, 1}, {Shape{20, 30, 25, 20}, 7}, {LowRankShape(500, 600), 40}, {Shape{4, 5, 125, 120}, 3}} {
		sum := 0.0
		const draws = 40
		for seed := range uint64(draws) {
			k, err := Random(c.s, c.terms, 500, 600, want, seed)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Check(); err != nil {
				t.Fatal(err)
			}
			n := mat.Norm(k.Dense(), 2)
			sum += n * n / (500 * 600) / draws
			a, b := mat.Norm(k.stackA(), 2), mat.Norm(k.stackB(), 2)
			if c.terms*c.s.M1*c.s.N1 > 500 && math.Abs(math.Log(a/b)) > 0.2 {
				t.Errorf("%v, %d terms: ‖A‖ %g, ‖B‖ %g", c.s, c.terms, a, b)
			}
		}
		if math.Abs(sum/want-1) > 0.1 {
			t.Errorf("%v, %d terms: variance %g, want %g", c.s, c.terms, sum, want)
		}
	}
	a, _ := Random(Shape{2, 3, 2, 3}, 2, 4, 9, 1, 5)
	b, _ := Random(Shape{2, 3, 2, 3}, 2, 4, 9, 1, 5)
	if !mat.Equal(a.Dense(), b.Dense()) {
		t.Error("the same seed draws other factors")
	}
	if _, err := Random(Shape{2, 3, 2, 3}, 1, 5, 9, 1, 0); err == nil {
		t.Error("a shape that does not hold the matrix is taken")
	}
}
