package convert

import (
	"testing"

	"bilinc/factorize"
)

// sharesOf is what shares gives for a budget of the weights of a net.
func sharesOf(t *testing.T, budget int64, most int, sizes ...int) ([]*curve, bool) {
	t.Helper()
	f, err := find(mlp(t, sizes...))
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{found: f}
	for _, w := range f.weights {
		p.curves = append(p.curves, &curve{weight: w})
	}
	return p.shares(budget, most)
}

// Shares use the budget up and never more, with the same terms for the same
// sizes; where a dense weight is within its share it stays.
func TestShares(t *testing.T) {
	const all = 196*256 + 256*256 + 256*16
	for _, ratio := range []int64{2, 4, 8, 16, 32, 64, 100} {
		curves, ok := sharesOf(t, all/ratio, 0, 196, 256, 256, 16)
		if !ok {
			t.Errorf("ratio %d: nothing fits", ratio)
			continue
		}
		var used, most int64
		for i, c := range curves {
			pt := c.points[0]
			used += int64(pt.params)
			if pt.dense() {
				if pt.params != c.weight.Params() {
					t.Errorf("ratio %d: a dense weight of %d takes %d", ratio, c.weight.Params(), pt.params)
				}
				continue
			}
			most = max(most, int64(pt.shape.Params(1)))
			if pt.params != pt.shape.Params(pt.terms) || pt.params >= c.weight.Params() {
				t.Errorf("ratio %d: %d terms of %v take %d of %d", ratio, pt.terms, pt.shape, pt.params, c.weight.Params())
			}
			if macs := pt.shape.MACs(pt.terms - 1); i < 2 && ratio >= 16 && 2*macs > c.weight.Params() {
				t.Errorf("ratio %d: %d terms of %v take %d multiplications of %d", ratio, pt.terms, pt.shape, macs, c.weight.Params())
			}
		}
		if used > all/ratio || ratio > 2 && used <= all/ratio-most {
			t.Errorf("ratio %d: %d of %d parameters are used", ratio, used, all/ratio)
		}
		if last := curves[2].points[0]; (ratio <= 2) != last.dense() {
			t.Errorf("ratio %d: the small last layer becomes %+v", ratio, last)
		}
	}
	if curves, ok := sharesOf(t, 600, 0, 196, 256, 256, 16); ok {
		t.Errorf("a budget of less than a term each gives %v", curves)
	}
}

// Few terms are of balanced shape; the more there are, the nearer the shape
// comes to low rank, which is quicker.
func TestSharesShape(t *testing.T) {
	for _, c := range []struct {
		budget int64
		most   int
		shape  factorize.Shape
		terms  int
	}{
		{2048, 0, factorize.Shape{M1: 32, N1: 32, M2: 32, N2: 32}, 1},
		{8 * 2048, 0, factorize.Shape{M1: 32, N1: 32, M2: 32, N2: 32}, 8},
		{16 * 2048, 0, factorize.Shape{M1: 16, N1: 64, M2: 64, N2: 16}, 16},
		{32 * 2048, 0, factorize.Shape{M1: 8, N1: 128, M2: 128, N2: 8}, 32},
		{32 * 2048, 2, factorize.Shape{M1: 32, N1: 32, M2: 32, N2: 32}, 2},
	} {
		curves, ok := sharesOf(t, c.budget, c.most, 1024, 1024)
		if !ok {
			t.Errorf("%d parameters: nothing fits", c.budget)
			continue
		}
		if pt := curves[0].points[0]; pt.shape != c.shape || pt.terms != c.terms {
			t.Errorf("%d parameters: %d terms of %v, wanted %d of %v", c.budget, pt.terms, pt.shape, c.terms, c.shape)
		}
	}
}
